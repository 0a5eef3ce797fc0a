//! For what carries contexts and may be entered and left in any order, as tracing's spans are. Hidden: what users
//! have is `logcontext_tracing::ContextSpans`.

use tracing::Metadata;

use super::open::{self, Left, OpenedBy};
use crate::context::LogContext;
use crate::diagnostics;
use crate::meter::{self, Entry};

/// A span: whose it is, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Numbers of spans are one subscriber's: another may have the same.
    pub keeper: u64,
    /// The span's own.
    pub span: u64,
}

/// Is the calling thread in the sentinel?
#[inline]
pub fn is_in_sentinel() -> bool {
    meter::current_id() == 0
}

/// The span is entered. If it has entered its context on this thread before and has not left it, that is counted
/// and all; answers whether it was so.
#[inline]
pub fn enter_again(carrier: Carrier) -> bool {
    open::has_spans() && open::enter_again(carrier)
}

/// The span is entered, and with it its context where the thread is in the sentinel. In another context only if it
/// may `anywhere`; in its own, or one of its family, it need not.
///
/// It is never late: whoever holds the span is a follower of the context.
pub fn enter(carrier: Carrier, context: LogContext, anywhere: bool, metadata: &'static Metadata<'static>) {
    let current = meter::current_id();
    if current == context.id() {
        return;
    }
    if current != 0 && (!anywhere || meter::peek(|current| current.is_family_of(&context))) {
        return;
    }
    if open::is_possible() {
        let previous = meter::switch_to(&context, Entry::Rightful);
        open::push(context, previous, OpenedBy::Span(carrier, metadata));
    }
}

/// The span is left, and with it its context if it has entered it on this thread.
#[inline]
pub fn exit(carrier: Carrier) {
    if open::has_spans() {
        leave(carrier);
    }
}

/// The span is closed: it will not be entered again. If it is open on this thread it is left.
pub fn close(carrier: Carrier) {
    while open::has_spans() && open::has(carrier) {
        leave(carrier);
    }
}

fn leave(carrier: Carrier) {
    // Unknown: it had no context, or there was no need to enter it, or it has been reported as left open. Below:
    // in any order is how spans are left.
    if let Left::OnTop { context, previous, .. } = open::leave(|open| open.carrier() == Some(carrier)) {
        let found = meter::switch(previous, Entry::Rightful);
        if found != context {
            diagnostics::misplaced(&context, &found, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::DiagnosticKind;
    use crate::{current_context, testing};

    fn span() -> &'static Metadata<'static> {
        tracing::info_span!("a span").metadata().expect("a subscriber that takes all")
    }

    const ONE: Carrier = Carrier { keeper: 1, span: 1 };
    const TWO: Carrier = Carrier { keeper: 1, span: 2 };

    #[test]
    fn in_any_order_and_never_inside_another_context_unless_it_may() {
        let test = testing::start();
        let (one, two) = (LogContext::new("one"), LogContext::new("two"));
        enter(ONE, one.clone(), false, span());
        enter(TWO, two.clone(), false, span());
        assert_eq!(current_context(), one);
        enter(TWO, two.clone(), true, span());
        assert_eq!(current_context(), two);
        exit(ONE);
        assert_eq!(current_context(), two);
        exit(TWO);
        assert!(current_context().is_sentinel());
        exit(TWO);
        assert!(current_context().is_sentinel());
        assert!(test.reports().is_empty());
    }

    #[test]
    fn entered_again_it_is_left_when_it_was_left_as_often_or_closed() {
        let _test = testing::start();
        let one = LogContext::new("one");
        assert!(!enter_again(ONE));
        for close_it in [false, true] {
            enter(ONE, one.clone(), false, span());
            assert!(enter_again(ONE) && !enter_again(TWO));
            if close_it {
                close(ONE);
            } else {
                exit(ONE);
                assert_eq!(current_context(), one);
                exit(ONE);
            }
            assert!(is_in_sentinel());
        }
    }

    #[test]
    fn a_context_set_by_hand_and_not_put_back_is_reported_when_the_span_is_left() {
        let test = testing::start();
        let (one, two) = (LogContext::new("one"), LogContext::new("two"));
        enter(ONE, one.clone(), false, span());
        crate::set_current_context(two.clone());
        exit(ONE);
        assert!(current_context().is_sentinel());
        let reports = test.take(DiagnosticKind::ContextMismatch);
        assert_eq!((&reports[0].context, reports[0].found.as_ref()), (&one, Some(&two)));
    }
}

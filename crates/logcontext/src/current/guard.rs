//! [`Entered`]: a context that is entered until a guard is dropped.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::open::{self, Left, OpenedBy};
use crate::context::LogContext;
use crate::diagnostics::{self, DiagnosticKind, Report};
use crate::meter::{self, Entry};

/// Its name is what the compiler says when a guard is about to leave its thread.
#[derive(Debug)]
struct DoNotHoldAcrossAwait(PhantomData<*mut ()>);

/// The guard of [`LogContext::enter`]: dropping it goes back to the context that was current before.
#[derive(Debug)]
#[must_use = "the context is left when the guard is dropped: at once, if it is not kept"]
pub struct Entered {
    /// Its number in the thread's list; `None` if it entered nothing.
    id: Option<u64>,
    thread: u64,
    _not_send: DoNotHoldAcrossAwait,
}

fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static THREAD: Cell<u64> = const { Cell::new(0) };
    }
    if THREAD.get() == 0 {
        THREAD.set(NEXT.fetch_add(1, Relaxed));
    }
    THREAD.get()
}

impl Entered {
    pub(super) fn new(context: &LogContext, origin: &'static Location<'static>) -> Self {
        // Without the list nobody could go back: then nothing is entered. The switch may report late work, to
        // hooks that may open guards themselves: not while the list is in use.
        let id = open::is_possible().then(|| {
            let previous = meter::switch_to(context, Entry::From(origin));
            open::push(context.clone(), previous, OpenedBy::Guard(origin))
        });
        Self { id, thread: this_thread(), _not_send: DoNotHoldAcrossAwait(PhantomData) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.thread != this_thread() {
            Report::new(DiagnosticKind::GuardOnOtherThread, &meter::current()).raise();
            return;
        }
        let Some(id) = self.id else { return };
        match open::leave(|open| open.id == id) {
            // A poll or a scope has ended below it and has reported it.
            Left::Unknown => {}
            Left::OnTop { context, previous, origin } => {
                let found = meter::switch(previous, Entry::Rightful);
                if found != context {
                    diagnostics::misplaced(&context, &found, origin);
                }
            }
            Left::Below { context, origin, below_a_guard } => {
                // Spans may be left in any order, also after what they were entered in.
                if below_a_guard {
                    let mut report = Report::new(DiagnosticKind::GuardOutOfOrder, &context);
                    report.origin = origin;
                    report.found(&meter::current()).raise();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{current_context, testing};

    #[test]
    fn a_guard_dropped_on_another_thread_changes_nothing_there() {
        let test = testing::start();
        let ctx = LogContext::new("import");
        let mut guard = ctx.enter();
        let (here, id) = (guard.thread, guard.id);
        // No safe code can send a guard away; make this one believe that it was.
        guard.thread = here + 1_000_000;
        drop(guard);
        assert_eq!(current_context(), ctx);
        let reports = test.take(DiagnosticKind::GuardOnOtherThread);
        assert_eq!(reports.len(), 1);
        drop(Entered { id, thread: here, _not_send: DoNotHoldAcrossAwait(PhantomData) });
        assert!(current_context().is_sentinel());
    }
    #[test]
    fn a_guard_dropped_during_a_younger_scope_takes_effect_when_the_scope_ends_and_is_reported() {
        let test = testing::start();
        let (import, other) = (LogContext::new("import"), LogContext::new("other"));
        for inside in [&other, &import, &LogContext::sentinel()] {
            let guard = import.enter();
            inside.scope(|| {
                drop(guard);
                assert_eq!(current_context(), *inside);
            });
            assert!(current_context().is_sentinel());
            assert_eq!(test.take(DiagnosticKind::GuardOutOfOrder).len(), 1);
        }
    }

    #[test]
    fn a_guard_of_the_current_context_that_outlives_its_scope_is_forgotten_and_does_no_harm() {
        let _test = testing::start();
        let (import, other) = (LogContext::new("import"), LogContext::new("other"));
        let guard = import.scope(|| import.enter());
        assert!(current_context().is_sentinel());
        other.scope(|| {
            drop(guard);
            assert_eq!(current_context(), other);
        });
        assert!(current_context().is_sentinel());
    }
}

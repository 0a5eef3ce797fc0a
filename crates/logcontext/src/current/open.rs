//! What is open on a thread: guards and spans that have been entered and not left yet. They may be left in any
//! order, so what each goes back to is kept here and not by whoever left it open.
//!
//! Scopes and polls are not in the list: they end in the reverse order of their beginning, and keep what they go
//! back to. Each is a *frame* for what is opened during it.

use std::cell::{Cell, RefCell};
use std::panic::Location;

use tracing::Metadata;

use super::carried::Carrier;
use crate::context::LogContext;
use crate::diagnostics::{DiagnosticKind, Report};
use crate::meter::{self, Entry};

thread_local! {
    static LIST: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
    // What a poll or a scope has to know, where it can look without a destructor being registered.
    static THREAD: Thread = const {
        Thread { last: Cell::new(0), open: Cell::new(0), left: Cell::new(0), spans: Cell::new(0), frame: Cell::new(0) }
    };
}

struct Thread {
    /// The number of what was opened last. Numbers only ever grow.
    last: Cell<u64>,
    /// So many are in the list.
    open: Cell<u32>,
    /// So many in the list have been left, but are below a frame that goes back to them.
    left: Cell<u32>,
    /// So many in the list are spans.
    spans: Cell<u32>,
    /// What `last` was when the innermost frame began that has not ended, of those that began when something was
    /// open: the others have nothing below them that they would have to be told apart from.
    frame: Cell<u64>,
}

impl Thread {
    /// It is not open any more.
    #[inline]
    fn forget(&self, open: &Open) {
        self.spans.set(self.spans.get() - u32::from(open.opened_by.is_span()));
    }
}

/// The time from the beginning of a scope or a poll to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// What has a greater number was opened in it.
    began: u64,
    /// What `Thread::frame` was; nothing was open if there is none.
    outer: Option<u64>,
}

impl Frame {
    /// All of a thread's life.
    pub(super) const OUTERMOST: Self = Self { began: 0, outer: None };

    #[inline]
    pub(super) fn begin() -> Self {
        THREAD.with(|thread| {
            let began = thread.last.get();
            let outer = (thread.open.get() != 0).then(|| thread.frame.replace(began));
            Self { began, outer }
        })
    }

    /// Answers whether there is nothing to put right: see [`abandon`] and [`go_back_for_those_left`].
    #[inline]
    pub(super) fn end(self) -> bool {
        THREAD.with(|thread| {
            if let Some(outer) = self.outer {
                thread.frame.set(outer);
            }
            thread.last.get() == self.began && thread.left.get() == 0
        })
    }
}

/// Who opened something.
#[derive(Clone, Copy)]
pub(super) enum OpenedBy {
    Guard(&'static Location<'static>),
    Span(Carrier, &'static Metadata<'static>),
}

impl OpenedBy {
    #[inline]
    fn origin(self) -> Option<&'static Location<'static>> {
        match self {
            Self::Guard(origin) => Some(origin),
            Self::Span(..) => None,
        }
    }

    fn is_span(self) -> bool {
        matches!(self, Self::Span(..))
    }
}

/// Something open.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) context: LogContext,
    previous: LogContext,
    opened_by: OpenedBy,
    /// The beginning of the frame that it was opened in.
    frame: u64,
    /// How many times more it was entered here: spans may be, as often as they like.
    again: u32,
    /// It was left during a younger frame, which goes back to it: whoever is there then goes on from it.
    left: bool,
}

impl Open {
    pub(super) fn carrier(&self) -> Option<Carrier> {
        match self.opened_by {
            OpenedBy::Span(carrier, _) => Some(carrier),
            OpenedBy::Guard(_) => None,
        }
    }

    #[inline]
    fn origin(&self) -> Option<&'static Location<'static>> {
        self.opened_by.origin()
    }

    /// It was still open at the end of a poll or a scope in `expected`.
    pub(super) fn report_held(&self, expected: &LogContext) {
        let mut report = Report::new(DiagnosticKind::GuardAcrossAwait, expected).found(&self.context);
        report.origin = self.origin();
        if let OpenedBy::Span(_, metadata) = self.opened_by {
            report = report.detail(&describe(metadata));
        }
        report.raise();
    }
}

/// The span and its place in the code, for people.
pub(super) fn describe(metadata: &Metadata<'_>) -> String {
    let (file, line) = (metadata.file().unwrap_or("?"), metadata.line().unwrap_or(0));
    format!("span {} at {file}:{line}", metadata.name())
}

/// `None` in destructors that run after the list's own.
#[inline]
fn with_list<R>(f: impl FnOnce(&mut Vec<Open>) -> R) -> Option<R> {
    LIST.try_with(|list| {
        let mut list = list.borrow_mut();
        let result = f(&mut list);
        THREAD.with(|thread| thread.open.set(u32::try_from(list.len()).unwrap_or(u32::MAX)));
        result
    })
    .ok()
}

/// Can something be opened here, and left later?
pub(super) fn is_possible() -> bool {
    LIST.try_with(|_| ()).is_ok()
}

/// Has a span entered its context here? Cheap: for every span that is entered or left.
#[inline]
pub(super) fn has_spans() -> bool {
    THREAD.with(|thread| thread.spans.get() != 0)
}

/// `context` was entered from `previous`. Answers its number.
#[inline]
pub(super) fn push(context: LogContext, previous: LogContext, opened_by: OpenedBy) -> u64 {
    THREAD.with(|thread| {
        let id = thread.last.get() + 1;
        thread.last.set(id);
        let open =
            Open { id, context, previous, opened_by, frame: thread.frame.get(), again: 0, left: false };
        thread.spans.set(thread.spans.get() + u32::from(opened_by.is_span()));
        with_list(|list| list.push(open));
        id
    })
}

/// Is the span open here?
pub(super) fn has(carrier: Carrier) -> bool {
    with_list(|list| list.iter().any(|open| !open.left && open.carrier() == Some(carrier))).unwrap_or(false)
}

/// Counts the span once more if it is open here; answers whether it is.
pub(super) fn enter_again(carrier: Carrier) -> bool {
    let again = with_list(|list| {
        let open = list.iter_mut().rfind(|open| !open.left && open.carrier() == Some(carrier))?;
        open.again += 1;
        Some(())
    });
    again.flatten().is_some()
}

/// What became of something that was left.
pub(super) enum Left {
    /// It is not in the list, or was entered more often than it was left.
    Unknown,
    /// It was what the thread is in now: go back to `previous`.
    OnTop { context: LogContext, previous: LogContext, origin: Option<&'static Location<'static>> },
    /// The thread is in something younger, which goes back to where this would have gone.
    Below { context: LogContext, origin: Option<&'static Location<'static>>, below_a_guard: bool },
}

/// Leaves the youngest that is `it`.
#[inline]
pub(super) fn leave(it: impl Fn(&Open) -> bool) -> Left {
    THREAD.with(|thread| {
        let left = with_list(|list| {
            let on_top =
                |top: &mut Open| it(top) && !top.left && top.again == 0 && top.id > thread.frame.get();
            match list.pop_if(on_top) {
                Some(open) => {
                    thread.forget(&open);
                    let origin = open.origin();
                    Left::OnTop { context: open.context, previous: open.previous, origin }
                }
                None => leave_below(thread, list, &it),
            }
        });
        left.unwrap_or(Left::Unknown)
    })
}

#[inline(never)]
fn leave_below(thread: &Thread, list: &mut Vec<Open>, it: &dyn Fn(&Open) -> bool) -> Left {
    let Some(at) = list.iter().rposition(|open| !open.left && it(open)) else { return Left::Unknown };
    let next_frame = list.get(at + 1).map_or(thread.frame.get(), |above| above.frame);
    let open = &mut list[at];
    if open.again > 0 {
        open.again -= 1;
        return Left::Unknown;
    }
    thread.forget(open);
    let (context, origin) = (open.context.clone(), open.origin());
    if next_frame >= open.id {
        // Below a scope or a poll, which will go back to it: it is then that we go on from there.
        open.left = true;
        thread.left.set(thread.left.get() + 1);
        return Left::Below { context, origin, below_a_guard: true };
    }
    let open = list.remove(at);
    list[at].previous = open.previous;
    let below_a_guard = list[at..].iter().any(|above| !above.opened_by.is_span());
    Left::Below { context, origin, below_a_guard }
}

/// Forgets what was opened in this frame and is open still: it will change nothing when it is left.
pub(super) fn abandon(frame: Frame) -> Vec<Open> {
    THREAD.with(|thread| {
        let mut leaked = with_list(|list| {
            let from = list.partition_point(|open| open.id <= frame.began);
            list.split_off(from)
        })
        .unwrap_or_default();
        for open in &leaked {
            if open.left {
                thread.left.set(thread.left.get() - 1);
            } else {
                thread.forget(open);
            }
        }
        leaked.retain(|open| !open.left);
        leaked
    })
}

/// At the end of a frame: what the thread is in now may have been left meanwhile.
pub(super) fn go_back_for_those_left() {
    THREAD.with(|thread| {
        while thread.left.get() != 0 {
            let gone = with_list(|list| list.pop_if(|top| top.left && top.id > thread.frame.get()));
            let Some(Some(gone)) = gone else { return };
            thread.left.set(thread.left.get() - 1);
            if meter::current_id() == gone.context.id() {
                meter::switch(gone.previous, Entry::Rightful);
            }
        }
    });
}

//! The thread's current context: reading it, setting it, and putting back what was.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::context::LogContext;
use crate::diagnostics::{self, DiagnosticKind, Report};
use crate::meter::{self, Entry, Mark};

/// The context that the calling thread is in; the sentinel if in none.
///
/// ```
/// use logcontext::{LogContext, current_context};
///
/// assert!(current_context().is_sentinel());
/// LogContext::new("import").scope(|| assert_eq!(current_context().name(), "import"));
/// ```
#[inline]
pub fn current_context() -> LogContext {
    meter::current()
}

/// Sets the calling thread's current context and returns the one before it. For bridges to other languages and
/// schedulers: nobody puts anything back. Everyone else wants [`LogContext::scope`] or
/// [`in_context`](crate::FutureExt::in_context).
///
/// ```
/// use logcontext::{LogContext, current_context, set_current_context};
///
/// let before = set_current_context(LogContext::new("callback"));
/// assert_eq!(current_context().name(), "callback");
/// assert_eq!(set_current_context(before).name(), "callback");
/// assert!(current_context().is_sentinel());
/// ```
#[track_caller]
pub fn set_current_context(context: LogContext) -> LogContext {
    meter::switch(context, Entry::From(Location::caller()))
}

impl LogContext {
    /// Runs `f` in this context, and puts back the one that was current, also on panic.
    ///
    /// `LogContext::sentinel().scope(f)` runs `f` outside any context: Synapse's `PreserveLoggingContext`.
    ///
    /// ```
    /// use logcontext::{LogContext, current_context};
    ///
    /// let request = LogContext::new("GET-17");
    /// request.scope(|| {
    ///     LogContext::sentinel().scope(|| assert!(current_context().is_sentinel()));
    ///     assert_eq!(current_context(), request);
    /// });
    /// ```
    #[track_caller]
    #[inline]
    #[doc(alias = "PreserveLoggingContext")]
    pub fn scope<R>(&self, f: impl FnOnce() -> R) -> R {
        scope(self, Entry::From(Location::caller()), f)
    }

    /// The same for work that rightly outlives the context.
    #[inline]
    pub(crate) fn scope_as_follower<R>(&self, f: impl FnOnce() -> R) -> R {
        scope(self, Entry::Rightful, f)
    }

    /// Enters this context until the guard is dropped. Prefer [`scope`](Self::scope): a guard that is held
    /// across an `.await` leaks its context into whatever the thread runs next. This is noticed and undone at
    /// the end of the poll, and reported; the guard cannot be sent to another thread.
    ///
    /// ```
    /// use logcontext::{LogContext, current_context};
    ///
    /// let guard = LogContext::new("import").enter();
    /// assert_eq!(current_context().name(), "import");
    /// drop(guard);
    /// assert!(current_context().is_sentinel());
    /// ```
    ///
    /// ```compile_fail
    /// let guard = logcontext::LogContext::new("import").enter();
    /// std::thread::spawn(move || drop(guard)); // `DoNotHoldAcrossAwait` cannot be sent between threads
    /// ```
    ///
    /// ```compile_fail
    /// fn spawn(_: impl Future<Output = ()> + Send) {}
    ///
    /// spawn(async {
    ///     let guard = logcontext::LogContext::new("import").enter();
    ///     std::future::ready(()).await; // the guard is held across the await: the future is not Send
    ///     drop(guard);
    /// });
    /// ```
    #[track_caller]
    pub fn enter(&self) -> Entered {
        Entered::new(self, Location::caller())
    }
}

#[inline]
pub(crate) fn scope<R>(context: &LogContext, entry: Entry, f: impl FnOnce() -> R) -> R {
    let _scope = Scope::enter(context, entry);
    f()
}

/// A scope on the stack: what was current before is put back when it is dropped.
struct Scope<'a> {
    context: &'a LogContext,
    /// `None` if the context was current already.
    previous: Option<LogContext>,
    guards: usize,
    origin: Option<&'static Location<'static>>,
}

impl<'a> Scope<'a> {
    #[inline]
    fn enter(context: &'a LogContext, entry: Entry) -> Self {
        let guards = guards_open();
        let origin = match entry {
            Entry::From(origin) => Some(origin),
            Entry::Rightful => None,
        };
        let already = meter::current_id() == context.id();
        let previous = (!already).then(|| meter::switch_to(context, entry));
        Self { context, previous, guards, origin }
    }
}

impl Drop for Scope<'_> {
    #[inline]
    fn drop(&mut self) {
        let found = match self.previous.take() {
            Some(previous) => meter::switch(previous, Entry::Rightful),
            None if meter::current_id() == self.context.id() => return,
            None => meter::switch_to(self.context, Entry::Rightful),
        };
        if found != *self.context {
            misplaced(self.context, &found, self.guards, self.origin);
        }
    }
}

/// One poll (or drop) of a future in its context. Moves `spare`, the future's second handle, into the thread
/// for as long as it takes, so that no reference is counted.
pub(crate) struct Poll<'a> {
    context: &'a LogContext,
    spare: &'a mut LogContext,
    /// `None` if the context was current already: then somebody further out looks after the time it takes.
    entered: Option<Mark>,
    guards: usize,
    origin: Option<&'static Location<'static>>,
}

impl<'a> Poll<'a> {
    #[inline]
    pub(crate) fn enter(context: &'a LogContext, spare: &'a mut LogContext, entry: Entry) -> Self {
        let origin = match entry {
            Entry::From(origin) => Some(origin),
            Entry::Rightful => None,
        };
        if meter::current_id() == context.id() {
            #[cfg(tokio_unstable)]
            crate::watch::meant_it();
            return Self { context, spare, entered: None, guards: guards_open(), origin };
        }
        *spare = meter::switch(std::mem::take(spare), entry);
        Self { context, spare, entered: Some(meter::mark()), guards: guards_open(), origin }
    }
}

impl Drop for Poll<'_> {
    #[inline]
    fn drop(&mut self) {
        let Some(mark) = self.entered else {
            if meter::current_id() != self.context.id() {
                let found = meter::switch_to(self.context, Entry::Rightful);
                misplaced(self.context, &found, self.guards, self.origin);
            }
            return;
        };
        let found = meter::switch(std::mem::take(self.spare), Entry::Rightful);
        if found == *self.context {
            *self.spare = found;
        } else {
            *self.spare = self.context.clone();
            misplaced(self.context, &found, self.guards, self.origin);
        }
        if mark.is_longer_than(crate::stuck::LEAST) {
            crate::stuck::look_at(self.context, mark);
        }
    }
}

/// The end of a scope or a poll found another context than its own.
#[cold]
#[inline(never)]
fn misplaced(
    expected: &LogContext,
    found: &LogContext,
    guards: usize,
    origin: Option<&'static Location<'static>>,
) {
    let leaked = abandon_guards(guards);
    if leaked.is_empty() {
        diagnostics::misplaced(expected, found, origin);
    }
    for guard in leaked {
        Report::new(DiagnosticKind::GuardAcrossAwait, expected)
            .found(&guard.context)
            .origin(guard.origin)
            .raise();
    }
}

/// For tokio's `on_thread_park`, or any place where a thread runs for nobody: if it is in a context all the
/// same, that is reported, and the thread is put back into the sentinel.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_multi_thread()
///     .on_thread_park(logcontext::expect_sentinel)
///     .build()
///     .unwrap();
/// ```
pub fn expect_sentinel() {
    if meter::current_id() != 0 {
        let found = meter::switch(LogContext::sentinel(), Entry::Rightful);
        misplaced(&LogContext::sentinel(), &found, 0, None);
    }
}

/// Its name is what the compiler says when a guard is about to leave its thread.
#[derive(Debug)]
struct DoNotHoldAcrossAwait(PhantomData<*mut ()>);

/// The guard of [`LogContext::enter`]: dropping it goes back to the context that was current before.
#[derive(Debug)]
#[must_use = "the context is left when the guard is dropped: at once, if it is not kept"]
pub struct Entered {
    id: u64,
    thread: u64,
    _not_send: DoNotHoldAcrossAwait,
}

/// What a guard goes back to. Kept by the thread, not by the guard, so that guards can go in any order.
struct OpenGuard {
    id: u64,
    context: LogContext,
    previous: LogContext,
    origin: &'static Location<'static>,
}

thread_local! {
    static GUARDS: RefCell<Vec<OpenGuard>> = const { RefCell::new(Vec::new()) };
    static NEXT_GUARD: Cell<u64> = const { Cell::new(0) };
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if THREAD.get() == 0 {
        THREAD.set(NEXT.fetch_add(1, Relaxed));
    }
    THREAD.get()
}

/// `None` in destructors that run after the list's own: a guard does nothing there.
fn with_guards<R>(f: impl FnOnce(&mut Vec<OpenGuard>) -> R) -> Option<R> {
    GUARDS.try_with(|guards| f(&mut guards.borrow_mut())).ok()
}

#[inline]
fn guards_open() -> usize {
    OPEN.get()
}

thread_local! {
    // The length of GUARDS, where a poll can look at it without a destructor being registered.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// Forgets the guards opened since there were so many: they will change nothing when they are dropped.
fn abandon_guards(open_before: usize) -> Vec<OpenGuard> {
    let leaked = with_guards(|guards| guards.split_off(open_before.min(guards.len()))).unwrap_or_default();
    OPEN.set(OPEN.get() - leaked.len());
    leaked
}

impl Entered {
    fn new(context: &LogContext, origin: &'static Location<'static>) -> Self {
        let id = NEXT_GUARD.get() + 1;
        NEXT_GUARD.set(id);
        // Without the list nobody could go back: then nothing is entered. The switch may report late work, to
        // hooks that may open guards themselves: not while the list is in use.
        if with_guards(|_| ()).is_some() {
            let previous = meter::switch_to(context, Entry::From(origin));
            with_guards(|guards| guards.push(OpenGuard { id, context: context.clone(), previous, origin }));
            OPEN.set(OPEN.get() + 1);
        }
        Self { id, thread: this_thread(), _not_send: DoNotHoldAcrossAwait(PhantomData) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.thread != this_thread() {
            Report::new(DiagnosticKind::GuardOnOtherThread, &meter::current()).raise();
            return;
        }
        let taken = with_guards(|guards| {
            let at = guards.iter().rposition(|guard| guard.id == self.id)?;
            let guard = guards.remove(at);
            match guards.get_mut(at) {
                // Not the last one: who came after it goes back to where it would have gone.
                Some(above) => {
                    let previous = std::mem::replace(&mut above.previous, guard.previous.clone());
                    Some((guard, Some(previous)))
                }
                None => Some((guard, None)),
            }
        });
        // Not found: a poll or a scope has ended below it and has reported it.
        let Some(Some((guard, above))) = taken else { return };
        OPEN.set(OPEN.get() - 1);
        if above.is_some() {
            Report::new(DiagnosticKind::GuardOutOfOrder, &guard.context)
                .found(&meter::current())
                .origin(guard.origin)
                .raise();
            return;
        }
        let found = meter::switch(guard.previous, Entry::Rightful);
        if found != guard.context {
            diagnostics::misplaced(&guard.context, &found, Some(guard.origin));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_guard_dropped_on_another_thread_changes_nothing_there() {
        let test = testing::start();
        let ctx = LogContext::new("import");
        let mut guard = ctx.enter();
        let here = guard.thread;
        // No safe code can send a guard away; make this one believe that it was.
        guard.thread = here + 1_000_000;
        drop(guard);
        assert_eq!(current_context(), ctx);
        let reports = test.take(DiagnosticKind::GuardOnOtherThread);
        assert_eq!(reports.len(), 1);
        drop(Entered { id: NEXT_GUARD.get(), thread: here, _not_send: DoNotHoldAcrossAwait(PhantomData) });
        assert!(current_context().is_sentinel());
    }
}

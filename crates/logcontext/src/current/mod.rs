//! The thread's current context: reading it, setting it, and putting back what was.

pub mod carried;
mod guard;
mod open;

use std::panic::Location;

use crate::context::LogContext;
use crate::diagnostics;
use crate::meter::{self, Entry, Mark};
pub use guard::Entered;
use open::Frame;

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
    frame: Frame,
    origin: Option<&'static Location<'static>>,
}

impl<'a> Scope<'a> {
    #[inline]
    fn enter(context: &'a LogContext, entry: Entry) -> Self {
        let frame = Frame::begin();
        let origin = match entry {
            Entry::From(origin) => Some(origin),
            Entry::Rightful => None,
        };
        let already = meter::current_id() == context.id();
        let previous = (!already).then(|| meter::switch_to(context, entry));
        Self { context, previous, frame, origin }
    }
}

impl Drop for Scope<'_> {
    #[inline]
    fn drop(&mut self) {
        let quiet = self.frame.end();
        let found = match self.previous.take() {
            Some(previous) => meter::switch(previous, Entry::Rightful),
            None if quiet && meter::current_id() == self.context.id() => return,
            None => meter::switch_to(self.context, Entry::Rightful),
        };
        if !quiet || found != *self.context {
            put_right(self.context, &found, self.frame, self.origin);
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
    frame: Frame,
    origin: Option<&'static Location<'static>>,
}

impl<'a> Poll<'a> {
    #[inline]
    pub(crate) fn enter(context: &'a LogContext, spare: &'a mut LogContext, entry: Entry) -> Self {
        let frame = Frame::begin();
        let origin = match entry {
            Entry::From(origin) => Some(origin),
            Entry::Rightful => None,
        };
        if meter::current_id() == context.id() {
            #[cfg(tokio_unstable)]
            crate::watch::meant_it();
            return Self { context, spare, entered: None, frame, origin };
        }
        *spare = meter::switch(std::mem::take(spare), entry);
        Self { context, spare, entered: Some(meter::mark()), frame, origin }
    }
}

impl Drop for Poll<'_> {
    #[inline]
    fn drop(&mut self) {
        let quiet = self.frame.end();
        let Some(mark) = self.entered else {
            if !quiet || meter::current_id() != self.context.id() {
                let found = meter::switch_to(self.context, Entry::Rightful);
                put_right(self.context, &found, self.frame, self.origin);
            }
            return;
        };
        let found = meter::switch(std::mem::take(self.spare), Entry::Rightful);
        if found == *self.context {
            *self.spare = found;
            if !quiet {
                put_right(self.context, self.context, self.frame, self.origin);
            }
        } else {
            *self.spare = self.context.clone();
            put_right(self.context, &found, self.frame, self.origin);
        }
        if mark.is_longer_than(crate::stuck::LEAST) {
            crate::stuck::look_at(self.context, mark);
        }
    }
}

/// A scope or a poll has ended. It found another context than its own, or guards and spans have been opened in
/// it, or left that were open before it: forgets those that are still open, and goes back to where those before
/// it would have gone.
#[cold]
#[inline(never)]
fn put_right(
    expected: &LogContext,
    found: &LogContext,
    frame: Frame,
    origin: Option<&'static Location<'static>>,
) {
    let leaked = open::abandon(frame);
    if found != expected && leaked.is_empty() {
        diagnostics::misplaced(expected, found, origin);
    }
    for open in leaked {
        // What was entered where it was current already has changed nothing.
        if found != expected || open.context != *expected {
            open.report_held(expected);
        }
    }
    open::go_back_for_those_left();
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
        put_right(&LogContext::sentinel(), &found, Frame::OUTERMOST, None);
    }
}

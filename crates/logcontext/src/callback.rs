//! Callbacks that run in the context in which they were made.

use std::panic::Location;

use crate::meter::{self, Entry};

/// A closure to be called once, somewhere else, in the context that is current here: a thread's body, a
/// destructor, a completion. One without arguments; [`preserve_once`] takes one.
///
/// ```
/// use logcontext::{LogContext, current_context, preserve_fn};
///
/// let body = LogContext::new("import").scope(|| preserve_fn(|| current_context().name().to_owned()));
/// assert_eq!(std::thread::spawn(body).join().unwrap(), "import");
/// ```
#[track_caller]
pub fn preserve_fn<R>(f: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let (context, origin) = (meter::current(), Location::caller());
    move || context.scope_from(origin, f)
}

/// The same for a callback that is called once with one argument (a tuple, where there are more).
#[track_caller]
pub fn preserve_once<A, R>(f: impl FnOnce(A) -> R) -> impl FnOnce(A) -> R {
    let (context, origin) = (meter::current(), Location::caller());
    move |argument| context.scope_from(origin, || f(argument))
}

/// The same for a callback that is called many times and changes what it holds.
///
/// ```
/// use logcontext::{LogContext, current_context, preserve_mut};
///
/// let mut seen = Vec::new();
/// let mut on_event = LogContext::new("watch").scope(|| {
///     preserve_mut(|event: &str| seen.push(format!("{} {event}", current_context())))
/// });
/// on_event("up");
/// on_event("down");
/// drop(on_event);
/// assert_eq!(seen, ["watch up", "watch down"]);
/// ```
#[track_caller]
pub fn preserve_mut<A, R>(mut f: impl FnMut(A) -> R) -> impl FnMut(A) -> R {
    let (context, origin) = (meter::current(), Location::caller());
    move |argument| context.scope_from(origin, || f(argument))
}

/// The same for a callback that is called many times, from many threads if it may.
#[track_caller]
pub fn preserve_ref<A, R>(f: impl Fn(A) -> R) -> impl Fn(A) -> R {
    let (context, origin) = (meter::current(), Location::caller());
    move |argument| context.scope_from(origin, || f(argument))
}

impl crate::LogContext {
    /// Runs `f` in this context; if that is late, it is the fault of this line.
    fn scope_from<R>(&self, origin: &'static Location<'static>, f: impl FnOnce() -> R) -> R {
        crate::current::scope(self, Entry::From(origin), f)
    }
}

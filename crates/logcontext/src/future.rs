//! Futures and streams that run in a context of their own: at each poll, and when they are dropped.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::context::LogContext;
use crate::current;
use crate::meter::{self, Entry};

/// Puts futures and streams into contexts.
///
/// ```
/// use logcontext::{FutureExt, LogContext, current_context};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let lookup = async { current_context().name().to_owned() };
/// assert_eq!(lookup.in_context(LogContext::new("lookup")).await, "lookup");
/// assert!(current_context().is_sentinel());
/// # });
/// ```
pub trait FutureExt: Sized {
    /// Runs it in this context. Each poll enters the context and puts back what it found; so does its drop.
    /// Nothing is boxed.
    #[track_caller]
    fn in_context(self, context: LogContext) -> InContext<Self> {
        InContext::new(self, context, Entry::From(Location::caller()))
    }

    /// Runs it in the context that is current now, wherever it is polled: for what other libraries poll,
    /// collect or spawn.
    #[track_caller]
    #[doc(alias = "make_deferred_yieldable")]
    fn in_current_context(self) -> InContext<Self> {
        InContext::new(self, meter::current(), Entry::From(Location::caller()))
    }

    /// Runs it in this context as a follower: work that rightly goes on after the context has finished. What
    /// `run_in_background` does, for those who poll it themselves.
    fn following(self, context: LogContext) -> InContext<Self> {
        InContext::new(self, context, Entry::Rightful)
    }
}

impl<T> FutureExt for T {}

pin_project! {
    /// A future or stream in its context: see [`FutureExt`].
    #[must_use = "futures do nothing unless polled"]
    pub struct InContext<F> {
        #[pin]
        inner: Option<F>,
        context: LogContext,
        // A second handle, lent to the thread during a poll: so a poll counts no references.
        spare: LogContext,
        entry: Entry,
    }

    impl<F> PinnedDrop for InContext<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_some() {
                // What cancelled work does on its way out is its own, and no late work.
                let _polling = current::Poll::enter(this.context, this.spare, Entry::Rightful);
                this.inner.set(None);
            }
        }
    }
}

impl<F> InContext<F> {
    fn new(inner: F, context: LogContext, entry: Entry) -> Self {
        Self { inner: Some(inner), spare: context.clone(), context, entry }
    }

    /// The context it runs in.
    pub fn context(&self) -> &LogContext {
        &self.context
    }

    /// Calls `f` with what is inside, in its context, as a poll of this would: for what is polled otherwise than a
    /// future or a stream. `f` can take it out, which drops it in its context; from then on there is `None`.
    ///
    /// ```
    /// use logcontext::{FutureExt, LogContext, current_context};
    /// use std::pin::pin;
    ///
    /// let mut body = pin!(vec![1, 2].into_iter().in_context(LogContext::new("GET-17")));
    /// let (name, first) = body.as_mut().with(|mut body| {
    ///     let first = body.as_mut().get_mut().as_mut().and_then(Iterator::next);
    ///     body.set(None);
    ///     (current_context().name().to_owned(), first)
    /// });
    /// assert_eq!((&*name, first), ("GET-17", Some(1)));
    /// assert!(body.with(|body| body.is_none()));
    /// ```
    #[inline]
    pub fn with<R>(self: Pin<&mut Self>, f: impl FnOnce(Pin<&mut Option<F>>) -> R) -> R {
        let mut this = self.project();
        let _polling = current::Poll::enter(this.context, this.spare, *this.entry);
        f(this.inner.as_mut())
    }
}

impl<F> std::fmt::Debug for InContext<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InContext").field("context", &self.context).finish_non_exhaustive()
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    /// # Panics
    /// If it is polled again after it was ready.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _polling = current::Poll::enter(this.context, this.spare, *this.entry);
        let future = this.inner.as_mut().as_pin_mut().expect("`InContext` polled after it was ready");
        let output = ready!(future.poll(cx));
        // What the future holds is dropped here, in the context, and not wherever its owner drops the shell.
        this.inner.set(None);
        Poll::Ready(output)
    }
}

impl<S: Stream> Stream for InContext<S> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        let _polling = current::Poll::enter(this.context, this.spare, *this.entry);
        let Some(stream) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let item = ready!(stream.poll_next(cx));
        if item.is_none() {
            this.inner.set(None);
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}

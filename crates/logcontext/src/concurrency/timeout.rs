//! [`timeout`]: a timeout that says after how long, and whose it was.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::meter;

/// It took too long, and was cancelled: see [`timeout`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    after: Duration,
    context: Box<str>,
}

impl TimedOut {
    /// How long it was given.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// The name of the context that waited for it.
    pub fn context(&self) -> &str {
        &self.context
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?} in {}", self.after, self.context)
    }
}

impl std::error::Error for TimedOut {}

pin_project! {
    /// A future that is given so long: see [`timeout`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        inner: Option<tokio::time::Timeout<F>>,
        after: Duration,
    }
}

/// Gives `future` so long from now, and cancels it if that is not enough. As [`tokio::time::timeout`], which works as
/// it is; but the error says after how long, and in what context, and what was cancelled is gone, with all that it had
/// to do on its way out, before anybody hears of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use logcontext::concurrency::timeout;
/// use logcontext::{FutureExt, LogContext};
/// use std::time::Duration;
///
/// let lookup = timeout(Duration::from_millis(1500), std::future::pending::<()>());
/// let error = lookup.in_context(LogContext::new("GET-17")).await.unwrap_err();
/// assert_eq!(error.to_string(), "timed out after 1.5s in GET-17");
/// # }
/// ```
///
/// # Errors
/// [`TimedOut`].
///
/// # Panics
/// Outside a tokio runtime with timers.
#[doc(alias = "timeout_deferred")]
pub fn timeout<F: Future>(after: Duration, future: F) -> Timeout<F> {
    Timeout { inner: Some(tokio::time::timeout(after, future)), after }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let inner = this.inner.as_mut().as_pin_mut().expect("`Timeout` polled after it was ready");
        let ended = ready!(inner.poll(cx));
        this.inner.set(None);
        let error = |_| TimedOut { after: *this.after, context: meter::current().name().into() };
        Poll::Ready(ended.map_err(error))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("after", &self.after).finish_non_exhaustive()
    }
}

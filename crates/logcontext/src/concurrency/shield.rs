//! [`shield`]: work that goes on when its caller is cancelled.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;

use crate::future::{FutureExt, InContext};
use crate::outcome::Outcome;
use crate::spawn::in_background;

/// Work that is not cancelled along with its caller: see [`shield`].
#[must_use = "futures do nothing unless polled"]
pub struct Shielded<F>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    /// `None` once it has ended.
    work: Option<Pin<Box<InContext<F>>>>,
    origin: &'static Location<'static>,
    state: State,
}

enum State {
    New,
    /// Half-way; with the runtime that it was begun in.
    Begun(Option<Handle>),
    /// Being polled; when seen afterwards, its poll has panicked.
    Polled,
}

/// Shields work from the cancellation of whoever awaits it. If this future is dropped half-way, the work goes on in
/// the background at once, as a follower of the context that was current when this was called: its cost is on that
/// context's bill, a failure or a panic is logged as soon as it happens, and a shutdown waits for it.
///
/// As long as its caller is there, it runs as part of the caller: no task is spawned, an error and a panic are the
/// caller's. Work that has not been polled yet has not begun, and does not.
///
/// What it needs it must own. A shutdown past its deadline, and a runtime that ends, cancel it all the same; so it is
/// outside of a tokio runtime.
///
/// In the sentinel there is nobody to run for: going on there raises a diagnostic.
///
/// Synapse's `stop_cancellation` and `delay_cancellation` both keep the work from being cancelled; how long a cancelled
/// caller hangs on is no question here, as a dropped future is gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use logcontext::concurrency::{shield, timeout};
/// use logcontext::{FutureExt, LogContext, current_context};
/// use std::time::Duration;
///
/// let (tell, told) = tokio::sync::oneshot::channel();
/// let pay = async move {
///     tokio::time::sleep(Duration::from_secs(5)).await;
///     tell.send(current_context().name().to_owned()).map_err(|_| "nobody listens")
/// };
/// async { assert!(timeout(Duration::from_secs(1), shield(pay)).await.is_err()) }
///     .in_context(LogContext::new("POST-17"))
///     .await;
/// assert_eq!(told.await.as_deref(), Ok("POST-17")); // the client was told of a timeout, the payment is made
/// # }
/// ```
#[track_caller]
#[doc(alias = "stop_cancellation")]
#[doc(alias = "delay_cancellation")]
pub fn shield<F>(work: F) -> Shielded<F>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    let origin = Location::caller();
    Shielded { work: Some(Box::pin(work.in_current_context())), origin, state: State::New }
}

impl<F> Shielded<F>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.state, State::New)
    }
}

impl<F> Future for Shielded<F>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    type Output = F::Output;

    /// # Panics
    /// If it is polled again after it was ready, and as the work does.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let runtime = match std::mem::replace(&mut this.state, State::Polled) {
            State::Begun(runtime) => runtime,
            State::New | State::Polled => Handle::try_current().ok(),
        };
        let work = this.work.as_mut().expect("`Shielded` polled after it was ready");
        let polled = work.as_mut().poll(cx);
        this.state = State::Begun(runtime);
        let output = ready!(polled);
        this.work = None;
        Poll::Ready(output)
    }
}

impl<F> Drop for Shielded<F>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    fn drop(&mut self) {
        if let State::Begun(Some(runtime)) = &self.state
            && let Some(work) = self.work.take()
        {
            let _entered = runtime.enter();
            drop(in_background(work.context().clone(), self.origin, work));
        }
    }
}

impl<F> fmt::Debug for Shielded<F>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Shielded");
        out.field("work", &self.work).field("origin", &self.origin).finish_non_exhaustive()
    }
}

//! Work that goes on when the client has left.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use logcontext::{Background, Lost, Outcome, run_in_background};

/// Runs `future` to its end, whether or not the client stays for the answer, and gives its output to the handler
/// if that is still there. A handler is dropped where it stands when its client leaves; what must not be left
/// half done goes in here.
///
/// It runs as a follower of the request: charged to it, also after it has finished; listed, waited for by a
/// shutdown, and aborted at its deadline. An output that nobody is there for is dropped: what must not be missed
/// then, log in the future itself. A panic is logged at once, and does not go on to the handler, which hears that
/// the output is [`Lost`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use axum::http::StatusCode;
/// use logcontext::{FutureExt, LogContext, current_context};
/// use logcontext_http::detach;
///
/// async fn transfer() -> Result<String, StatusCode> {
///     let transferred = detach(async {
///         tokio::task::yield_now().await; // takes from one account, and gives to the other
///         current_context().name().to_owned()
///     });
///     transferred.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
/// }
///
/// assert_eq!(transfer().in_context(LogContext::new("PUT-17")).await, Ok("PUT-17".to_owned()));
/// # }
/// ```
///
/// # Panics
/// Outside a tokio runtime.
#[track_caller]
pub fn detach<F>(future: F) -> Detached<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Detached { work: run_in_background(Undivided { future }) }
}

/// What [`detach`] runs: its output, once it is there. Dropping this changes nothing for the work.
#[derive(Debug)]
#[must_use = "await it for the output; the work goes on in any case"]
pub struct Detached<O> {
    work: Background<Unjudged<O>>,
}

impl<O> Future for Detached<O> {
    type Output = Result<O, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.work).poll(cx).map_ok(|Unjudged(output)| output)
    }
}

/// Whether it is a failure, the handler knows.
#[derive(Debug)]
struct Unjudged<O>(O);

impl<O> Outcome for Unjudged<O> {}

pin_project_lite::pin_project! {
    struct Undivided<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Undivided<F> {
    type Output = Unjudged<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(Unjudged)
    }
}

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use http_body_util::{LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::{Limits, Refusal, Verdict};
use crate::serve::LONGEST;

pin_project! {
    /// The body of a request behind a [`BodyLimitLayer`](crate::BodyLimitLayer).
    #[derive(Debug)]
    pub struct LimitedBody<B> {
        #[pin]
        body: Limited<B>,
        verdict: Option<Arc<Verdict>>,
        patience: Option<Patience>,
        refused: bool,
    }
}

impl<B> LimitedBody<B> {
    pub(super) fn new(body: B, limits: Limits, verdict: Arc<Verdict>) -> Self {
        let size = limits.size.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX));
        let patience = limits.time.map(Patience::new);
        Self { body: Limited::new(body, size), verdict: Some(verdict), patience, refused: false }
    }

    /// One that has no bytes.
    pub(super) fn without_limit(body: B) -> Self {
        Self { body: Limited::new(body, usize::MAX), verdict: None, patience: None, refused: false }
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let this = self.project();
        if *this.refused {
            return Poll::Ready(None);
        }
        let (refusal, error) = match this.body.poll_frame(cx) {
            Poll::Ready(Some(Err(error))) if error.is::<LengthLimitError>() => (Refusal::TooLarge, error),
            Poll::Ready(frame) => {
                if let Some(patience) = this.patience {
                    patience.got_something();
                }
                return Poll::Ready(frame);
            }
            Poll::Pending => {
                let Some(patience) = this.patience else { return Poll::Pending };
                let error = ready!(patience.poll_end(cx));
                (Refusal::TimedOut, error.into())
            }
        };
        *this.refused = true;
        if let Some(verdict) = this.verdict {
            verdict.refuse(refusal);
        }
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.refused || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a client is waited for, in all.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    left: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        // What is added to a moment has an end.
        Self { limit, left: limit.min(LONGEST), since: None, timer: None }
    }

    fn got_something(&mut self) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }

    /// Nothing came: ready, when nothing may come any more.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<BodyTimeoutError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let deadline = since + self.left;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(BodyTimeoutError { limit: self.limit })
    }
}

/// The client took too long to send the body of its request: what reading it fails with behind a
/// [`BodyLimitLayer`](crate::BodyLimitLayer).
///
/// ```
/// use logcontext_http::BodyTimeoutError;
///
/// fn is_the_clients(error: &axum::Error) -> bool {
///     std::error::Error::source(error).is_some_and(|error| error.is::<BodyTimeoutError>())
/// }
/// # assert!(!is_the_clients(&axum::Error::new(std::io::Error::other("planned"))));
/// ```
#[derive(Clone, Debug)]
pub struct BodyTimeoutError {
    limit: Duration,
}

impl fmt::Display for BodyTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client took longer than {:?} to send the request's body", self.limit)
    }
}

impl Error for BodyTimeoutError {}

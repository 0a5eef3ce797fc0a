use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::Verdict;

pin_project! {
    /// The response to come, of a service behind a [`BodyLimitLayer`](crate::BodyLimitLayer).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct BodyLimitFuture<F> {
        // None: the request was refused.
        #[pin]
        handler: Option<F>,
        // None: the request has no body.
        verdict: Option<Arc<Verdict>>,
    }
}

impl<F> BodyLimitFuture<F> {
    pub(super) fn new(handler: F, verdict: Arc<Verdict>) -> Self {
        Self { handler: Some(handler), verdict: Some(verdict) }
    }

    pub(super) fn without_limit(handler: F) -> Self {
        Self { handler: Some(handler), verdict: None }
    }

    pub(super) fn refused(verdict: Arc<Verdict>) -> Self {
        Self { handler: None, verdict: Some(verdict) }
    }
}

impl<F, R, E> Future for BodyLimitFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(handler) = this.handler.as_pin_mut() else {
            let response = this.verdict.as_ref().map(|verdict| verdict.response());
            return Poll::Ready(Ok(response.unwrap_or_default()));
        };
        let mut response = ready!(handler.poll(cx))?;
        if let Some(verdict) = this.verdict {
            verdict.stamp(&mut response);
        }
        Poll::Ready(Ok(response))
    }
}

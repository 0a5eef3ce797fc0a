use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use logcontext::{LogContext, RemoteUsage};
use pin_project_lite::pin_project;

use crate::server_timing::remote_usage;

pin_project! {
    /// A call that waits for its response.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ClientFuture<F> {
        #[pin]
        inner: F,
        charge: Charge,
    }
}

impl<F> ClientFuture<F> {
    pub(super) fn new(inner: F, charge: Charge) -> Self {
        Self { inner, charge }
    }
}

impl<F, B, E> Future for ClientFuture<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        this.charge.end(result.as_ref().ok().map(http::Response::headers));
        Poll::Ready(result)
    }
}

/// Who has called, and is charged once: when the response is there, or nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Charge {
    context: LogContext,
    is_believed: bool,
    is_over: bool,
}

impl Charge {
    pub(super) fn new(context: LogContext, is_believed: bool) -> Self {
        Self { context, is_believed, is_over: false }
    }

    fn end(&mut self, headers: Option<&HeaderMap>) {
        if !std::mem::replace(&mut self.is_over, true) {
            let headers = headers.filter(|_| self.is_believed);
            self.context.record_remote(&headers.map_or_else(RemoteUsage::unknown, remote_usage));
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.end(None);
    }
}

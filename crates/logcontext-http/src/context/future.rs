use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Body;
use logcontext::InContext;
use pin_project_lite::pin_project;

use crate::context::{ContextBody, End, Exchange};

pin_project! {
    /// The response to come, made in its request's context.
    #[must_use = "futures do nothing unless polled"]
    pub struct ContextFuture<F> {
        // Dropped in this order: first the handler, in its context; then its context is finished.
        #[pin]
        handler: Option<InContext<F>>,
        exchange: Option<Exchange>,
    }
}

impl<F> ContextFuture<F> {
    pub(crate) fn new(handler: InContext<F>, exchange: Exchange) -> Self {
        Self { handler: Some(handler), exchange: Some(exchange) }
    }
}

impl<F, B, E> Future for ContextFuture<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
    B: Body,
{
    type Output = Result<http::Response<ContextBody<B>>, E>;

    /// # Panics
    /// If the handler does, or if it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED: &str = "`ContextFuture` polled after it was ready";

        let mut this = self.project();
        let handler = this.handler.as_mut().as_pin_mut().expect(POLLED);
        let result = catch_unwind(AssertUnwindSafe(|| handler.poll(cx)));
        if let Ok(Poll::Pending) = result {
            return Poll::Pending;
        }
        let mut exchange = this.exchange.take().expect(POLLED);
        match result {
            Ok(Poll::Ready(Ok(response))) => Poll::Ready(Ok(ContextBody::wrap(response, exchange))),
            Ok(Poll::Ready(Err(error))) => {
                exchange.end(End::Failed);
                Poll::Ready(Err(error))
            }
            Ok(Poll::Pending) => unreachable!("returned above"),
            Err(payload) => {
                // What the panic left behind may panic again: one is enough to report.
                let _ = catch_unwind(AssertUnwindSafe(|| this.handler.set(None)));
                exchange.end(End::Panicked);
                resume_unwind(payload)
            }
        }
    }
}

impl<F> std::fmt::Debug for ContextFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContextFuture").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use http_body::Body;
use logcontext::{InContext, Panic, catch_panic};
use pin_project_lite::pin_project;

use crate::context::{ContextBody, EmptyPanicResponse, End, Exchange, PanicResponse};

pin_project! {
    /// The response to come, made in its request's context.
    #[must_use = "futures do nothing unless polled"]
    pub struct ContextFuture<F, P = EmptyPanicResponse> {
        // Dropped in this order: first the handler, in its context; then its context is finished.
        #[pin]
        handler: Option<InContext<F>>,
        // The service panicked before there was a future.
        panic: Option<Panic>,
        exchange: Option<Exchange>,
        panics: P,
    }
}

impl<F, P> ContextFuture<F, P> {
    pub(crate) fn new(handler: Result<InContext<F>, Panic>, exchange: Exchange, panics: P) -> Self {
        let (handler, panic) = match handler {
            Ok(handler) => (Some(handler), None),
            Err(panic) => (None, Some(panic)),
        };
        Self { handler, panic, exchange: Some(exchange), panics }
    }
}

impl<F, P, B, E> Future for ContextFuture<F, P>
where
    F: Future<Output = Result<Response<B>, E>>,
    P: PanicResponse<B>,
    B: Body,
{
    type Output = Result<Response<ContextBody<B>>, E>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED: &str = "`ContextFuture` polled after it was ready";

        let mut this = self.project();
        let result = match this.panic.take() {
            Some(panic) => Err(panic),
            None => {
                let handler = this.handler.as_mut().as_pin_mut().expect(POLLED);
                catch_panic(|| handler.poll(cx))
            }
        };
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
            Err(mut panic) => {
                exchange.panicked(&mut panic);
                // What the panic left behind may panic again: one is enough to report.
                let _ = catch_panic(|| this.handler.set(None));
                Poll::Ready(Ok(answer(this.panics, &panic, exchange)))
            }
        }
    }
}

fn answer<P, B>(panics: &P, panic: &Panic, mut exchange: Exchange) -> Response<ContextBody<B>>
where
    P: PanicResponse<B>,
    B: Body,
{
    let context = exchange.context().clone();
    match catch_panic(|| context.scope(|| panics.response(panic))) {
        Ok(Some(response)) => return ContextBody::wrap(response, exchange),
        Ok(None) => {}
        Err(mut second) => exchange.panicked(&mut second),
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    ContextBody::empty(response, exchange)
}

impl<F, P> std::fmt::Debug for ContextFuture<F, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContextFuture").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Body;
use logcontext::{FutureExt, catch_panic};
use tower_service::Service;

use crate::context::{Config, ContextBody, ContextFuture, EmptyPanicResponse, Exchange, PanicResponse};

/// A service behind a [`ContextLayer`](crate::ContextLayer).
#[derive(Clone, Debug)]
pub struct ContextService<S, P = EmptyPanicResponse> {
    inner: S,
    config: Arc<Config>,
    panics: P,
}

impl<S, P> ContextService<S, P> {
    pub(crate) fn new(inner: S, config: Arc<Config>, panics: P) -> Self {
        Self { inner, config, panics }
    }
}

impl<S, P, B, R> Service<http::Request<B>> for ContextService<S, P>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    P: PanicResponse<R>,
    R: Body,
{
    type Response = http::Response<ContextBody<R>>;
    type Error = S::Error;
    type Future = ContextFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let mut exchange = Exchange::start(&request, &self.config);
        let context = exchange.context().clone();
        let inner = &mut self.inner;
        // A request has some 260 bytes: from here it is moved once, however many closures there are around the call.
        let mut request = Some(request);
        let called = catch_panic(|| {
            context.scope(|| {
                exchange.receives(&mut request);
                inner.call(request.take().expect("it is there until now"))
            })
        });
        let handler = called.map(|future| future.in_context(context));
        ContextFuture::new(handler, exchange, self.panics.clone())
    }
}

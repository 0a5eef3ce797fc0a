use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Body;
use logcontext::FutureExt;
use tower_service::Service;

use crate::context::{Config, ContextBody, ContextFuture, End, Exchange};

/// A service behind a [`ContextLayer`](crate::ContextLayer).
#[derive(Clone, Debug)]
pub struct ContextService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> ContextService<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, B, R> Service<http::Request<B>> for ContextService<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    R: Body,
{
    type Response = http::Response<ContextBody<R>>;
    type Error = S::Error;
    type Future = ContextFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let mut exchange = Exchange::start(&request, &self.config);
        let context = exchange.context().clone();
        let inner = &mut self.inner;
        match catch_unwind(AssertUnwindSafe(|| context.scope(|| inner.call(request)))) {
            Ok(future) => ContextFuture::new(future.in_context(context), exchange),
            Err(payload) => {
                exchange.end(End::Panicked);
                resume_unwind(payload)
            }
        }
    }
}

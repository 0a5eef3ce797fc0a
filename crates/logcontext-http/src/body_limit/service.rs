use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, header};
use http_body::Body;
use tower_service::Service;

use super::{BodyLimitFuture, LimitedBody, Limits, Refusal, Verdict};

/// A service behind a [`BodyLimitLayer`](crate::BodyLimitLayer).
#[derive(Clone, Debug)]
pub struct BodyLimitService<S> {
    inner: S,
    limits: Limits,
}

impl<S> BodyLimitService<S> {
    pub(super) fn new(inner: S, limits: Limits) -> Self {
        Self { inner, limits }
    }
}

impl<S, B, R> Service<Request<B>> for BodyLimitService<S>
where
    S: Service<Request<LimitedBody<B>>, Response = Response<R>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BodyLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.body().is_end_stream() {
            let (parts, body) = request.into_parts();
            return BodyLimitFuture::without_limit(
                self.inner.call(Request::from_parts(parts, LimitedBody::without_limit(body))),
            );
        }
        let verdict = Arc::new(Verdict::on(&request));
        if self.limits.size.is_some_and(|size| declared(&request) > size) {
            verdict.refuse(Refusal::TooLarge);
            return BodyLimitFuture::refused(verdict);
        }
        let (parts, body) = request.into_parts();
        let body = LimitedBody::new(body, self.limits, Arc::clone(&verdict));
        #[cfg_attr(not(feature = "axum"), expect(unused_mut, reason = "only axum has a limit of its own"))]
        let mut request = Request::from_parts(parts, body);
        #[cfg(feature = "axum")]
        if self.limits.size.is_some() {
            axum::extract::DefaultBodyLimit::disable().apply(&mut request);
        }
        BodyLimitFuture::new(self.inner.call(request), verdict)
    }
}

/// How many bytes there will be at least.
fn declared<B: Body>(request: &Request<B>) -> u64 {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    request.body().size_hint().lower().max(length.unwrap_or(0))
}

//! Calls that are made for a request carry its trace on.

use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue};
use logcontext::current_context;
use tower_layer::Layer;
use tower_service::Service;

use crate::request::{TRACEPARENT, TRACESTATE};

/// Puts `traceparent`, and `tracestate` if there is one, into the headers of a call that is made for the current
/// request: its trace, and a new span for this call. For clients that are no tower services;
/// [`ClientLayer`](crate::ClientLayer) and [`TraceparentLayer`] do it for those that are. What the headers say already is replaced: it is what somebody
/// else was called with.
///
/// Outside of any request, in a background process for one, there is no trace, and the headers stay as they are.
///
/// ```
/// use http::HeaderMap;
/// use logcontext::{LogContext, Request, TraceContext};
/// use logcontext_http::trace_headers;
///
/// let trace = TraceContext::random();
/// let request = Request::new("GET", "/").trace_context(trace.clone());
/// let mut headers = HeaderMap::new();
/// LogContext::builder("GET-17").request(request).start().scope(|| trace_headers(&mut headers));
/// let sent = TraceContext::parse(headers["traceparent"].to_str().unwrap()).unwrap();
/// assert_eq!(sent.trace_id(), trace.trace_id());
/// assert_ne!(sent.span_id(), trace.span_id());
/// ```
pub fn trace_headers(headers: &mut HeaderMap) {
    let context = current_context();
    let Some(span) = context.request().and_then(|request| request.span()) else { return };
    let call = span.child();
    let Ok(traceparent) = HeaderValue::from_str(call.as_str()) else { return };
    headers.insert(TRACEPARENT.clone(), traceparent);
    match call.state().map(HeaderValue::from_str) {
        Some(Ok(state)) => headers.insert(TRACESTATE.clone(), state),
        _ => headers.remove(&TRACESTATE),
    };
}

/// A tower layer for HTTP clients: each call carries on the trace of the request that it is made for. See
/// [`trace_headers`]. [`ClientLayer`](crate::ClientLayer) does this too, and learns what the call has cost.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{FutureExt, LogContext, Request, TraceContext};
/// use logcontext_http::TraceparentLayer;
/// use tower::{Layer, ServiceExt};
///
/// // in place of a client: answers with what it was called with
/// let client = tower::service_fn(|request: http::Request<()>| async move {
///     Ok::<_, std::convert::Infallible>(request.headers().get("traceparent").cloned())
/// });
/// let client = TraceparentLayer::new().layer(client);
///
/// let request = Request::new("GET", "/").trace_context(TraceContext::random());
/// let context = LogContext::builder("GET-17").request(request).start();
/// let sent = client.clone().oneshot(http::Request::new(())).in_context(context.clone()).await.unwrap();
/// assert_eq!(&sent.unwrap().to_str().unwrap()[3..35], context.request().unwrap().trace().unwrap());
/// assert_eq!(client.oneshot(http::Request::new(())).await.unwrap(), None);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceparentLayer(());

impl TraceparentLayer {
    /// The layer.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for TraceparentLayer {
    type Service = TraceparentService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TraceparentService { inner }
    }
}

/// A client behind a [`TraceparentLayer`].
#[derive(Clone, Copy, Debug)]
pub struct TraceparentService<S> {
    inner: S,
}

impl<S, B> Service<http::Request<B>> for TraceparentService<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        trace_headers(request.headers_mut());
        self.inner.call(request)
    }
}

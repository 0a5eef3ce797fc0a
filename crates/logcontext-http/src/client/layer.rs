use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use logcontext::current_context;
use tower_layer::Layer;
use tower_service::Service;

use super::future::{Charge, ClientFuture};
use crate::outgoing::trace_headers;

/// A tower layer for HTTP clients: each call carries on the trace of the request that it is made for, as
/// [`trace_headers`] says, and the context that has made it is charged what it has cost elsewhere, apart from its own
/// cost: [`ResourceUsage::remote`](logcontext::ResourceUsage::remote).
///
/// The cost is what the response's `Server-Timing` says, as [`remote_usage`](crate::server_timing::remote_usage) reads
/// it: of servers with a [`ContextLayer`](crate::ContextLayer) that [shows it](crate::ContextLayer::server_timing) to
/// this client. It is what is known when the response's headers are there; what its body costs nobody tells. A call
/// that does not say, that fails or that is dropped is one whose cost is unknown.
///
/// Where only the trace is to be sent there is [`TraceparentLayer`](crate::TraceparentLayer).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{FutureExt, LogContext, current_context};
/// use logcontext_http::{ClientLayer, ContextLayer, server_timing};
/// use std::time::Duration;
/// use tower::{Layer, ServiceExt};
///
/// // in place of a client and a server
/// let server = tower::service_fn(|_: http::Request<()>| async {
///     current_context().record_db_transaction(Duration::from_millis(3));
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// });
/// let server = ContextLayer::new().server_timing(server_timing::always).layer(server);
/// let client = ClientLayer::new().layer(server);
///
/// let context = LogContext::new("GET-17");
/// client.oneshot(http::Request::new(())).in_context(context.clone()).await.unwrap();
/// let usage = context.finish();
/// assert_eq!(usage.remote().db_txn_duration, Duration::from_millis(3));
/// assert_eq!((usage.remote().calls, usage.db_txn_count), (1, 0));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ClientLayer {
    believes: Option<Arc<Believes>>,
}

type Believes = dyn Fn(&Parts) -> bool + Send + Sync;

impl ClientLayer {
    /// The layer. It believes whoever answers, within what [can be](logcontext::RemoteUsage::or_unknown).
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose word is taken for what a call has cost: asked with the head of each request, in its context. The cost of
    /// calls to others is unknown. For clients that call strangers, and servers that mean something else by `cpu`.
    ///
    /// ```
    /// use logcontext_http::ClientLayer;
    ///
    /// let layer = ClientLayer::new().believe(|request| request.uri.host() == Some("presence.internal"));
    /// # let _: ClientLayer = layer;
    /// ```
    #[must_use]
    pub fn believe(mut self, believes: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.believes = Some(Arc::new(believes));
        self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService { inner, believes: self.believes.clone() }
    }
}

impl fmt::Debug for ClientLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").field("believes_all", &self.believes.is_none()).finish()
    }
}

/// A client behind a [`ClientLayer`].
#[derive(Clone)]
pub struct ClientService<S> {
    inner: S,
    believes: Option<Arc<Believes>>,
}

impl<S, B, R> Service<http::Request<B>> for ClientService<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        trace_headers(request.headers_mut());
        let mut is_believed = true;
        if let Some(believes) = &self.believes {
            let (parts, body) = request.into_parts();
            is_believed = believes(&parts);
            request = http::Request::from_parts(parts, body);
        }
        let charge = Charge::new(current_context(), is_believed);
        ClientFuture::new(self.inner.call(request), charge)
    }
}

impl<S: fmt::Debug> fmt::Debug for ClientService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientService")
            .field("inner", &self.inner)
            .field("believes_all", &self.believes.is_none())
            .finish()
    }
}

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, request};
use logcontext::{Panic, Supervisor};
use tower_layer::Layer;

use crate::context::{Config, ContextService, EmptyPanicResponse};

/// A tower layer: each request runs in a context of its own, from the call of the service to the last frame of
/// the response's body, and ends with an access line.
///
/// Give it to axum's `Router::layer`, or wrap a whole service in it; for routers in the latter case see
/// `LabelLayer`. Put it outside of layers that change or replace response bodies.
///
/// - The context is called `GET-17`: the method, and the supervisor's number of the request.
/// - Its label is the method and the matched route, `GET /presence/{user}`; what matches none is `GET
///   (unmatched)`, never the path. A service without axum calls [`set_label`](logcontext::LogContext::set_label).
/// - The handler, its futures and the body's, their drops included, run in it and are charged to it.
/// - It finishes when the last frame of the body is handed to the server; as cancelled, when the handler or the
///   body is dropped before that: the client has left. That is no fault. Whether the client still gets what the
///   server has been handed, nobody can tell from here; but that it has left in the middle of its own request,
///   [`serve`](crate::serve) can, and then it is cancelled whatever the handler answers.
/// - A panic of the handler is logged once, in the context, and answered with a 500: see
///   [`panic_response`](Self::panic_response). One of the body, when the headers are on their way already, is
///   logged as well and breaks the connection off. Either way the context ends as panicked.
/// - It belongs to the trace that `traceparent` says, or to a new one: see
///   [`restart_traces`](Self::restart_traces).
///
/// # The access line
/// At info level, target `logcontext::access`, in the request's context:
/// ```text
/// 127.0.0.1 - 8008 - {@alice} Processed request: 0.012sec/0.001sec ru=(0.003sec, 0.001sec) db=(0.000sec/0.004sec/2) 123B 200 "PUT /presence/alice HTTP/1.1" "curl/8" [3 dbevts]
/// ```
/// That is: client, listener, user; time until the response's headers and from there until its end; CPU, user and
/// system; waiting for database connections, in transactions, and their number; bytes of the body; status;
/// request; user agent; events fetched from the database. What is not known is `-`.
///
/// A `!` after the status says that the response did not get to its end. Where there was no status yet, the line
/// says `499!` if the client had left, and `500!` if the handler failed, as Synapse does.
///
/// Programs read the fields instead: `status` (absent if there was none), `complete`, `outcome` (`ok`, `failed`,
/// `panicked`, `cancelled`), `bytes`, `label`, `listener`, `connection`, `processing_seconds`, `sending_seconds`,
/// `cpu_user_seconds`, `cpu_system_seconds`, `db_wait_seconds`, `db_txn_seconds`, `db_txn_count` and
/// `evt_db_fetch_count`; the context has the rest.
///
/// Where the request has called others by the bus or a [`ClientLayer`](crate::ClientLayer), what that has cost there
/// follows: calls whose cost came home, those whose cost is unknown, CPU, and the database as above. The fields are
/// `remote_calls`, `remote_unknown`, `remote_cpu_seconds`, `remote_db_wait_seconds`, `remote_db_txn_seconds` and
/// `remote_db_txn_count`.
/// ```text
/// .. "curl/8" [3 dbevts] [2 remote calls, 0 unknown: cpu=0.007sec db=(0.000sec/0.002sec/1)]
/// ```
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use axum::{Router, routing::get};
/// use logcontext::{ContextKind, Supervisor, current_context};
/// use logcontext_http::ContextLayer;
/// use tower::ServiceExt;
///
/// let service = Supervisor::new("presence");
/// let app = Router::new()
///     .route("/presence/{user}", get(|| async { current_context().name().to_owned() }))
///     .layer(ContextLayer::new().supervisor(&service));
///
/// let request = http::Request::get("/presence/alice").body(axum::body::Body::empty()).unwrap();
/// let response = app.oneshot(request).await.unwrap();
/// let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
/// assert_eq!(body, "GET-1");
///
/// let totals = &service.totals()[0]; // of `GET /presence/{user}`
/// assert_eq!((totals.kind, totals.started, totals.ok), (ContextKind::Request, 1, 1));
/// # }
/// ```
#[derive(Clone)]
pub struct ContextLayer<P = EmptyPanicResponse> {
    config: Arc<Config>,
    panics: P,
}

impl ContextLayer {
    /// The layer, for the supervisor that is current here.
    pub fn new() -> Self {
        Self { config: Arc::new(Config::new()), panics: EmptyPanicResponse }
    }
}

impl<P> ContextLayer<P> {
    /// The supervisor that the contexts belong to.
    #[must_use]
    pub fn supervisor(mut self, supervisor: &Supervisor) -> Self {
        self.change().supervisor = supervisor.clone();
        self
    }

    /// What the access line says second. If nobody says: the port that the client connected to, where there is a
    /// [`ConnectionInfo`](crate::ConnectionInfo).
    #[must_use]
    pub fn listener_tag(mut self, tag: impl Into<Box<str>>) -> Self {
        self.change().listener_tag = Some(tag.into());
        self
    }

    /// Requests for exactly these paths get their access line at debug level, as all `OPTIONS` requests do:
    /// health checks.
    #[must_use]
    pub fn quiet_paths<Q: Into<Box<str>>>(mut self, paths: impl IntoIterator<Item = Q>) -> Self {
        self.change().quiet_paths.extend(paths.into_iter().map(Into::into));
        self
    }

    /// What may be logged of a request's path and its query: asked once a request, before anything is logged of
    /// it. If nobody says: the path, without its query. What comes of it is escaped and cut wherever it is shown.
    ///
    /// ```
    /// use logcontext_http::ContextLayer;
    ///
    /// // links that let in whoever knows them
    /// let layer = ContextLayer::new().redact(|path, _query| match path.split_once("/invite/") {
    ///     Some((before, _)) => format!("{before}/invite/<redacted>").into(),
    ///     None => path.into(),
    /// });
    /// # let _: ContextLayer = layer;
    /// ```
    #[must_use]
    pub fn redact<F>(mut self, redact: F) -> Self
    where
        F: for<'a> Fn(&'a str, Option<&'a str>) -> Cow<'a, str> + Send + Sync + 'static,
    {
        self.change().redact = Some(Arc::new(redact));
        self
    }

    /// A header by which whoever is in front of the service tells the request's id: logs show it, and the
    /// response has it in the same header. Only for headers that clients cannot send past your proxy.
    ///
    /// An id is at most 64 of `A-Z a-z 0-9 . _ -`. Instead of any other, and where there is none, the request is
    /// called by our own, the name of its context; that somebody sent another is logged at info level.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext::{Supervisor, current_context};
    /// use logcontext_http::ContextLayer;
    /// use tower::{Layer, ServiceExt};
    ///
    /// let handler = tower::service_fn(|_: http::Request<()>| async {
    ///     let id = current_context().request_id().unwrap().to_owned();
    ///     Ok::<_, std::convert::Infallible>(http::Response::new(id))
    /// });
    /// let header = http::HeaderName::from_static("x-request-id");
    /// let service = ContextLayer::new().supervisor(&Supervisor::new("ids")).request_id_header(header).layer(handler);
    ///
    /// let request = http::Request::get("/").header("x-request-id", "7f3a-09").body(()).unwrap();
    /// let response = service.clone().oneshot(request).await.unwrap();
    /// assert_eq!(response.headers()["x-request-id"], "7f3a-09");
    /// let response = service.oneshot(http::Request::new(())).await.unwrap();
    /// assert_eq!(response.headers()["x-request-id"], "GET-2");
    /// # }
    /// ```
    #[must_use]
    pub fn request_id_header(mut self, name: HeaderName) -> Self {
        self.change().request_id = Some(name);
        self
    }

    /// Takes no `traceparent` from clients: each request begins a trace of its own. For services that strangers
    /// can reach, where they shall not choose ids that end up in the logs.
    ///
    /// If nobody says: a request goes on with the trace that its `traceparent` and `tracestate` tell, as a span
    /// of its own, and begins a new one if there is none or if it is invalid. Calls made for the request carry
    /// the trace on with [`TraceparentLayer`](crate::TraceparentLayer).
    #[must_use]
    pub fn restart_traces(mut self) -> Self {
        self.change().traces.restart = true;
        self
    }

    /// Marks traces that begin here as sampled: services that are called then record them. If nobody says they
    /// are not, and most will not record them.
    #[must_use]
    pub fn sample_new_traces(mut self) -> Self {
        self.change().traces.sample_new = true;
        self
    }

    /// The `Server` header of every response that passes the layer, whatever made it: a handler, an extractor
    /// that refused, a router that knows no such path or method, a timeout, a panic. It takes the place of one
    /// that the handler has set.
    ///
    /// What the HTTP library answers by itself does not pass: 400, 414 or 431 to what it cannot read as a request.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use axum::{Router, http::HeaderValue};
    /// use logcontext_http::ContextLayer;
    /// use tower::{Layer, ServiceExt};
    ///
    /// const SERVER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    /// let layer = ContextLayer::new().server_header(HeaderValue::from_static(SERVER));
    /// let request = http::Request::new(axum::body::Body::empty());
    /// let response = layer.layer(Router::new()).oneshot(request).await.unwrap();
    /// assert_eq!(response.status(), 404);
    /// assert_eq!(response.headers()["server"], SERVER);
    /// # }
    /// ```
    #[must_use]
    pub fn server_header(mut self, server: HeaderValue) -> Self {
        self.change().server = Some(server);
        self
    }

    /// Who gets a `Server-Timing` header, which browsers show in their network panel: the CPU time, the time in
    /// database transactions, waiting for database connections, and all in all, up to the response's headers.
    /// Nobody, if nobody says: it tells what strangers may not know. What is not measured is left out; times that
    /// the handler adds itself are kept. How many transactions there were, and what was caused elsewhere, is told where
    /// there is any: [`ClientLayer`](crate::ClientLayer) charges all of it to who has called.
    ///
    /// The closure is asked in the request's context. There are ready ones in
    /// [`server_timing`](crate::server_timing).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext_http::{ContextLayer, server_timing};
    /// use tower::{Layer, ServiceExt};
    ///
    /// let handler = tower::service_fn(|_: http::Request<()>| async {
    ///     Ok::<_, std::convert::Infallible>(http::Response::new(String::from("ok")))
    /// });
    /// let service = ContextLayer::new().server_timing(server_timing::always).layer(handler);
    /// let response = service.oneshot(http::Request::new(())).await.unwrap();
    /// let timing = response.headers()["server-timing"].to_str().unwrap();
    /// assert!(timing.contains("db;dur=0.000, ") && timing.contains("total;dur="), "{timing}");
    /// # }
    /// ```
    #[must_use]
    pub fn server_timing<F>(mut self, may_see: F) -> Self
    where
        F: Fn(&request::Parts) -> bool + Send + Sync + 'static,
    {
        self.change().server_timing = Some(Arc::new(may_see));
        self
    }

    /// What to answer for a handler that panicked; a 500 without a body, if nobody says. It is called in the
    /// request's context, where the panic has been logged; the response's body is of the kind that the service
    /// answers with. The panic's message is for the log: it may say anything.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
    /// use logcontext_http::ContextLayer;
    /// use tower::ServiceExt;
    ///
    /// async fn handler() {
    ///     panic!("planned")
    /// }
    ///
    /// let layer = ContextLayer::new().panic_response(|_| {
    ///     (StatusCode::INTERNAL_SERVER_ERROR, Json("internal server error")).into_response()
    /// });
    /// let app = Router::new().route("/", get(handler)).layer(layer);
    /// let response = app.oneshot(http::Request::new(axum::body::Body::empty())).await.unwrap();
    /// assert_eq!((response.status(), &response.headers()["content-type"]), (
    ///     StatusCode::INTERNAL_SERVER_ERROR,
    ///     &http::HeaderValue::from_static("application/json"),
    /// ));
    /// # }
    /// ```
    #[must_use]
    pub fn panic_response<F, B>(self, response: F) -> ContextLayer<F>
    where
        F: Fn(&Panic) -> Response<B> + Clone,
    {
        ContextLayer { config: self.config, panics: response }
    }

    fn change(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl Default for ContextLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for ContextLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextLayer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S, P: Clone> Layer<S> for ContextLayer<P> {
    type Service = ContextService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ContextService::new(inner, Arc::clone(&self.config), self.panics.clone())
    }
}

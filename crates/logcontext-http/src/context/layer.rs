use std::sync::Arc;

use logcontext::Supervisor;
use tower_layer::Layer;

use crate::context::ContextService;

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
///   server has been handed, nobody can tell from here.
/// - A panic of the handler goes on to whoever looks after panics, after the context has finished with it.
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
#[derive(Clone, Debug)]
pub struct ContextLayer {
    config: Arc<Config>,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) supervisor: Supervisor,
    pub(crate) listener_tag: Option<Box<str>>,
    pub(crate) quiet_paths: Vec<Box<str>>,
}

impl ContextLayer {
    /// The layer, for the supervisor that is current here.
    pub fn new() -> Self {
        let config =
            Config { supervisor: Supervisor::current(), listener_tag: None, quiet_paths: Vec::new() };
        Self { config: Arc::new(config) }
    }

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
    pub fn quiet_paths<P: Into<Box<str>>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.change().quiet_paths.extend(paths.into_iter().map(Into::into));
        self
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

impl<S> Layer<S> for ContextLayer {
    type Service = ContextService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ContextService::new(inner, Arc::clone(&self.config))
    }
}

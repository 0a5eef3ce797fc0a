//! The service: listening, serving, and ending well.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use logcontext::{FutureExt, Running, Supervisor};
use logcontext_http::{ContextLayer, ServeOptions, serve, server_timing};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::database::DatabaseUrl;
use crate::prune::Retention;
use crate::store::{Limits, Store, Timeouts};
use crate::{api, prune, timeout};

/// How the service is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where the database is.
    pub database: DatabaseUrl,
    /// How to use it.
    pub limits: Limits,
    /// After how long presence times out.
    pub timeouts: Timeouts,
    /// How often to look who is to be timed out.
    pub time_out_every: Duration,
    /// How long things are kept.
    pub retention: Retention,
    /// How often to delete what is older.
    pub prune_every: Duration,
    /// How long a client may take to send the head of a request.
    pub header_read_timeout: Duration,
    /// How long requests and background work may take to end once the service is told to.
    pub shutdown_deadline: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8008)),
            database: DatabaseUrl::default(),
            limits: Limits::default(),
            timeouts: Timeouts { unavailable: Duration::from_secs(30), offline: Duration::from_secs(5 * 60) },
            time_out_every: Duration::from_secs(1),
            retention: Retention { history: 7 * DAY, users: 30 * DAY },
            prune_every: Duration::from_secs(60),
            header_read_timeout: Duration::from_secs(10),
            shutdown_deadline: Duration::from_secs(10),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What share of the time to shut down is the requests' and then that of the background work that they leave; the
/// rest is for closing the database.
const FOR_REQUESTS: f64 = 0.9;
const FOR_BACKGROUND: f64 = 0.95;

/// How long the database may take to close where the service did not start after all.
const NOT_STARTED: Duration = Duration::from_secs(5);

const SERVER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The service, listening. It answers once it [runs](Self::run).
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    store: Arc<Store>,
    routes: Router,
    config: Config,
    supervisor: Supervisor,
}

/// How the service ended.
#[derive(Debug)]
pub struct Stopped {
    /// Background work that did not end by the deadline.
    pub aborted: Vec<Running>,
    /// Connections of clients that did not end by the deadline.
    pub cut: usize,
    /// Connections to the database that were not closed by the deadline.
    pub left_open: usize,
}

impl Stopped {
    /// Did all end by the deadline?
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty() && self.cut == 0 && self.left_open == 0
    }
}

impl Service {
    /// Opens the database, listens, and starts what runs in the background. To be called in a context, such as
    /// `startup`.
    ///
    /// # Errors
    /// If it cannot open the database, or not listen there. Nothing is left open then.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let store =
            Store::open(&config.database, &config.limits).await.context("cannot open the database")?;
        let (listener, address) = match listen(config.listen).await {
            Ok(listening) => listening,
            Err(error) => {
                store.close(NOT_STARTED).await;
                return Err(error).with_context(|| format!("cannot listen on {}", config.listen));
            }
        };
        tracing::info!(%address, database = %store.backend(), "listening");
        let store = Arc::new(store);
        timeout::start(Arc::clone(&store), config.timeouts, config.time_out_every);
        prune::start(Arc::clone(&store), config.retention, config.prune_every);
        let routes = api::routes(Arc::clone(&store));
        Ok(Self { listener, store, routes, config, supervisor: Supervisor::current() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Everybody's presence.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// With these routes as well.
    #[must_use]
    pub fn with_routes(self, routes: Router) -> Self {
        Self { routes: self.routes.merge(routes), ..self }
    }

    /// Serves until `stop` completes; then takes no more requests, lets those that run and the background work
    /// end, and closes the database, all by the deadline.
    ///
    /// # Errors
    /// If it cannot accept connections any more.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<Stopped> {
        let Self { listener, store, routes, config, supervisor } = self;
        let layer = ContextLayer::new()
            .supervisor(&supervisor)
            .quiet_paths(["/health"])
            .request_id_header(HeaderName::from_static("x-request-id"))
            .server_header(HeaderValue::from_static(SERVER))
            .server_timing(server_timing::loopback_clients)
            .panic_response(|_| api::panicked());
        let options = ServeOptions::default()
            .name("http")
            .supervisor(&supervisor)
            .header_read_timeout(config.header_read_timeout)
            .shutdown_deadline(config.shutdown_deadline.mul_f64(FOR_REQUESTS));
        let app = api::with_fallbacks(routes).layer(layer);
        let failed = Notify::new();
        let serving = async {
            let served = serve(listener, app, options).await;
            if served.is_err() {
                failed.notify_one();
            }
            served
        };
        let stopping = async {
            tokio::select! {
                () = stop => {}
                () = failed.notified() => {}
            }
            let told = Instant::now();
            let context = supervisor.context("shutdown").start();
            let deadline = config.shutdown_deadline.mul_f64(FOR_BACKGROUND);
            let shutdown = supervisor.shutdown(deadline).in_context(context.clone()).await;
            (told, context, shutdown)
        };
        let (served, (told, context, shutdown)) = tokio::join!(serving, stopping);
        // Nothing uses it any more.
        let rest = config.shutdown_deadline.saturating_sub(told.elapsed());
        let closed = store.close(rest).in_context(context.clone()).await;
        context.finish();
        Ok(Stopped { aborted: shutdown.aborted, cut: served?.aborted, left_open: closed.left_open })
    }
}

async fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

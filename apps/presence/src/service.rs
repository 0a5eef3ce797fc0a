//! The service: listening, serving, and ending well.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use logcontext::{FutureExt, Running, Supervisor};
use logcontext_http::{ContextLayer, ServeOptions, serve};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use crate::store::{Store, Timeouts};
use crate::{api, timeout};

/// How the service is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// After how long presence times out.
    pub timeouts: Timeouts,
    /// How often to look who is to be timed out.
    pub time_out_every: Duration,
    /// How many users there can be.
    pub max_users: usize,
    /// How long a client may take to send the head of a request.
    pub header_read_timeout: Duration,
    /// How long requests and background work may take to end once the service is told to.
    pub shutdown_deadline: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8008)),
            timeouts: Timeouts {
                unavailable: Duration::from_secs(30),
                offline: Duration::from_secs(5 * 60),
                forgotten: Duration::from_secs(24 * 60 * 60),
            },
            time_out_every: Duration::from_secs(1),
            max_users: 100_000,
            header_read_timeout: Duration::from_secs(10),
            shutdown_deadline: Duration::from_secs(10),
        }
    }
}

/// What share of the time to shut down is the requests'; the rest is for the background work that they leave.
const FOR_REQUESTS: f64 = 0.9;

/// The service, listening. It answers once it [runs](Self::run).
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    routes: Router,
    config: Config,
    supervisor: Supervisor,
}

/// How the service ended.
#[derive(Debug)]
pub struct Stopped {
    /// Background work that did not end by the deadline.
    pub aborted: Vec<Running>,
    /// Connections that did not end by the deadline.
    pub cut: usize,
}

impl Service {
    /// Listens, and starts what runs in the background. To be called in a context, such as `startup`.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let store = Arc::new(Store::new(config.max_users));
        timeout::start(Arc::clone(&store), config.timeouts, config.time_out_every);
        tracing::info!(address = %listener.local_addr()?, "listening");
        Ok(Self { listener, routes: api::routes(store), config, supervisor: Supervisor::current() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// With these routes as well.
    #[must_use]
    pub fn with_routes(self, routes: Router) -> Self {
        Self { routes: self.routes.merge(routes), ..self }
    }

    /// Serves until `stop` completes; then takes no more requests, and lets those that run, and the background
    /// work, end by the deadline.
    ///
    /// # Errors
    /// If it cannot accept connections any more.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<Stopped> {
        let Self { listener, routes, config, supervisor } = self;
        let layer = ContextLayer::new().supervisor(&supervisor).quiet_paths(["/health"]);
        let options = ServeOptions::default()
            .name("http")
            .supervisor(&supervisor)
            .header_read_timeout(config.header_read_timeout)
            .shutdown_deadline(config.shutdown_deadline.mul_f64(FOR_REQUESTS));
        // Outside of the request's context, which ends with the panic; the panic itself is in the log.
        let app = api::with_fallbacks(routes).layer(layer).layer(CatchPanicLayer::custom(api::panicked));
        let serving = serve(listener, app, options);
        let stopping = async {
            stop.await;
            let context = supervisor.context("shutdown").start();
            let shutdown = supervisor.shutdown(config.shutdown_deadline).in_context(context.clone()).await;
            context.finish();
            Ok(shutdown)
        };
        let (served, shutdown) = tokio::try_join!(serving, stopping)?;
        Ok(Stopped { aborted: shutdown.aborted, cut: served.aborted })
    }
}

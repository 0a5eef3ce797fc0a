//! The accept loop: a context per connection, and a shutdown in order.

mod accept;
mod connection;
mod head_timeout;
mod listener;
mod options;
#[cfg(feature = "axum")]
mod router;
mod serving;
mod stream;
#[cfg(feature = "tls")]
mod tls;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use logcontext::{Ending, FutureExt, LogContext, Supervisor, run_in_background};
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

use connection::{Connection, Phase};

pub use listener::Listener;
pub use options::ServeOptions;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

/// What [`serve`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections accepted.
    pub connections: u64,
    /// Of those, how many were cut off at the end of the shutdown.
    pub aborted: usize,
}

/// As good as for ever.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// After a connection was cut off, it ends at its next await: this long is waited for that.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Serves HTTP/1 on this listener, TCP or Unix or [another](Listener), until the supervisor drains, which it does
/// first of all when it shuts down.
///
/// Each connection has a context of its own, `connection-3`: reading, parsing and writing are charged to it, and
/// totalled by the name of the listener. It runs in the background: the supervisor lists it, and waits for it.
/// Requests find their [`ConnectionInfo`](crate::ConnectionInfo) in their extensions. Clients that leave, are too
/// slow or talk nonsense are logged at debug level, in their connection's context.
///
/// When the supervisor begins to drain, or to shut down, no more connections are accepted, idle ones are closed, and
/// requests in flight get until the deadline to end. What is left then is cut off.
/// [`while_draining`](ServeOptions::while_draining) goes on until the shutdown.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use axum::{Router, routing::get};
/// use logcontext::{Supervisor, background};
/// use logcontext_http::{ContextLayer, ServeOptions, serve};
/// use std::time::Duration;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let service = Supervisor::new("presence");
/// let app = Router::new()
///     .route("/health", get(|| async { "ok" }))
///     .layer(ContextLayer::new().supervisor(&service).quiet_paths(["/health"]));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?;
/// let served = background::run("http", serve(listener, app, ServeOptions::default().supervisor(&service)));
///
/// let mut client = tokio::net::TcpStream::connect(address).await?;
/// client.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
/// let mut response = String::new();
/// client.read_to_string(&mut response).await?;
/// assert!(response.starts_with("HTTP/1.1 200 OK\r\n"));
///
/// service.shutdown(Duration::from_secs(5)).await;
/// let served = served.await.expect("no panic")?;
/// assert_eq!((served.connections, served.aborted), (1, 0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// None so far: errors of accepting are logged, and it goes on.
///
/// # Panics
/// Outside a tokio runtime with I/O and time.
pub async fn serve<L, S, B>(listener: L, service: S, options: ServeOptions) -> io::Result<Served>
where
    L: Listener,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let supervisor = options.supervisor.clone().unwrap_or_else(Supervisor::current);
    let context = supervisor.context(format!("accept-{}", options.name)).label(&options.name).start();
    let finish = Finish { context: context.clone(), ending: Ending::Cancelled };
    let server = Server::new(supervisor, options);
    #[cfg(feature = "axum")]
    let service = router::prepared(service);
    let served = server.run(listener, service).in_context(context).await;
    finish.finish_as(Ending::Ok);
    Ok(served)
}

struct Server {
    supervisor: Supervisor,
    options: ServeOptions,
    http: http1::Builder,
    phase: watch::Sender<Phase>,
    /// Whatever comes after [`Phase::Serving`]: set before anybody is told.
    leaves_serving: Arc<AtomicBool>,
    aborted: Arc<AtomicUsize>,
}

impl Server {
    fn new(supervisor: Supervisor, options: ServeOptions) -> Self {
        let mut http = http1::Builder::new();
        // What is added to a moment has an end.
        http.header_read_timeout(options.header_read_timeout.min(LONGEST));
        // The stream sees to that.
        http.half_close(true);
        Self {
            supervisor,
            options,
            http,
            phase: watch::Sender::default(),
            leaves_serving: Arc::default(),
            aborted: Arc::default(),
        }
    }

    async fn run<L, S, B>(self, listener: L, service: S) -> Served
    where
        L: Listener,
        S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut connections = 0;
        tokio::select! {
            () = self.told_to_stop() => {}
            () = self.accept(listener, service, &mut connections) => {}
        }
        self.drain().await;
        Served { connections, aborted: self.aborted.load(Relaxed) }
    }

    async fn told_to_stop(&self) {
        if self.options.while_draining {
            self.supervisor.shutting_down().await;
        } else {
            self.supervisor.draining().await;
        }
    }

    async fn accept<L, S, B>(&self, mut listener: L, service: S, connections: &mut u64)
    where
        L: Listener,
        S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let places = Arc::new(Semaphore::new(self.options.places()));
        loop {
            // Before accepting: who finds no place waits in the kernel's queue, and not with us.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (stream, info) = accept::next(&mut listener).await;
            *connections += 1;
            let connection = Connection::new(self, info, place);
            let context = connection.context().clone();
            // Started in the connection's own context, so that it runs there, and is listed under its name.
            let http = self.http.clone();
            let service = service.clone();
            #[cfg(feature = "tls")]
            if let Some(tls) = self.options.tls.clone() {
                let limit = self.options.header_read_timeout.min(LONGEST);
                let encrypted = tls::drive(connection, stream, tls, limit, service, http);
                context.scope(|| run_in_background(encrypted));
                continue;
            }
            context.scope(|| run_in_background(connection::drive(connection, stream, service, http)));
        }
    }

    /// Waits for the connections that are left; cuts them off at the deadline.
    async fn drain(&self) {
        self.leaves_serving.store(true, Release);
        self.phase.send_replace(Phase::Draining);
        let deadline = self.options.shutdown_deadline;
        if tokio::time::timeout(deadline, self.phase.closed()).await.is_ok() {
            return;
        }
        tracing::warn!(
            target: "logcontext::http",
            listener = &*self.options.name,
            connections = self.phase.receiver_count(),
            "connections still open at the end of the shutdown: cut off",
        );
        self.phase.send_replace(Phase::Aborting);
        let _ = tokio::time::timeout(LAST_WAIT, self.phase.closed()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Before the channel is closed, which is the end as well.
        self.leaves_serving.store(true, Release);
    }
}

/// Finishes a context, whatever happens to what runs in it.
struct Finish {
    context: LogContext,
    ending: Ending,
}

impl Finish {
    fn finish_as(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let ending = if std::thread::panicking() { Ending::Panicked } else { self.ending };
        self.context.finish_as(ending);
    }
}

//! [`Service`]: a server that has been started, and its end.

mod bind;
mod deadlines;
mod opened;
mod tls;
#[cfg(unix)]
mod unix;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use futures_util::future::join_all;
use logcontext::{FutureExt, Running, Supervisor};
use logcontext_http::{BodyLimitLayer, ContextLayer, ServeOptions};
use logcontext_metrics::Exporter;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::admin::{self, Identity, Readiness};
use crate::error::StartError;
use crate::server::{Datastore, Server};
use crate::settings::{ListenAddress, ListenerSettings, ServiceSettings};
use bind::Bound;
use deadlines::Deadlines;
use opened::Opened;
pub(crate) use tls::ListenerTls;

/// All that a server can be told.
#[derive(Debug)]
#[non_exhaustive]
pub struct Settings<S: Server> {
    /// What is the same for every server.
    pub service: ServiceSettings,
    /// How to open its datastore.
    pub database: <S::Datastore as Datastore>::Settings,
    /// Its own.
    pub server: S::Settings,
}

/// What nobody has said anything about.
impl<S: Server> Default for Settings<S> {
    fn default() -> Self {
        Self { service: ServiceSettings::of::<S>(), database: Default::default(), server: Default::default() }
    }
}

/// A server that has been started: it has its datastore and its sockets, and what runs in the background runs. It
/// answers once it [runs](Self::run); dropped instead, it closes its datastore in the background.
///
/// [`run`](crate::run) is all that a command needs. This is for tests, and for several servers in one process: each
/// under a [`Supervisor`] of its own, they do not meet.
pub struct Service<S: Server> {
    supervisor: Supervisor,
    settings: ServiceSettings,
    opened: Opened<S::Datastore>,
    server: Arc<S>,
    routes: Router,
    listeners: Vec<Bound>,
    admin: Option<Bound>,
    readiness: Arc<Readiness<S::Datastore>>,
    identity: Identity,
}

/// How a service ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stopped {
    /// Background work that did not end by the deadline.
    pub aborted: Vec<Running>,
    /// Connections of clients that did not end by the deadline.
    pub cut: usize,
    /// Connections to the database that were not closed by the deadline.
    pub left_open: usize,
    /// Why it could not go on, if a part of it had [asked](Supervisor::ask_to_shut_down) for the end.
    pub asked: Option<Arc<str>>,
}

impl Stopped {
    /// Did all end by the deadline?
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty() && self.cut == 0 && self.left_open == 0
    }

    fn tell(&self, took: Duration) {
        let Self { aborted, cut, left_open, .. } = self;
        if self.is_clean() {
            tracing::info!(?took, "shut down");
        } else {
            let aborted = aborted.len();
            tracing::warn!(
                ?took,
                aborted,
                cut,
                left_open,
                "shut down at the deadline, which not all had met"
            );
        }
    }
}

impl<S: Server> Service<S> {
    /// Listens, opens the datastore, makes the server, and starts what runs in the background: under the supervisor
    /// of the current context, which should be one such as `startup`.
    ///
    /// # Errors
    /// If any of it fails. Nothing is left open then.
    pub async fn start(settings: Settings<S>) -> Result<Self, StartError> {
        let Settings { service: settings, database, server } = settings;
        // First what takes no time: a second one of this server shall not touch the database.
        let listeners = bind_all(&settings.listeners).await?;
        let admin = bind_admin(&settings).await?;
        let opened = Opened::new(S::Datastore::open(&database).await.map_err(StartError::Datastore)?);
        let server = match S::new(server, Arc::clone(opened.get())).await {
            Ok(server) => Arc::new(server),
            Err(error) => {
                opened.close_early().await;
                return Err(StartError::Server(error));
            }
        };
        let routes = Arc::clone(&server).routes();
        Arc::clone(&server).background();
        for listener in &listeners {
            tracing::info!(
                address = %listener.address,
                name = listener.name,
                database = opened.get().kind(),
                "listening",
            );
        }
        if let Some(admin) = &admin {
            tracing::info!(address = %admin.address, "telling of itself");
        }
        let readiness = Arc::new(Readiness::new(Arc::clone(opened.get())));
        let supervisor = Supervisor::current();
        let identity = Identity::new(S::NAME, S::VERSION, server.details());
        Ok(Self { supervisor, settings, opened, server, routes, listeners, admin, readiness, identity })
    }

    /// Where it listens, in the order of its settings.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listeners.iter().map(|listener| &listener.address)
    }

    /// Where it tells of itself, if it does.
    pub fn admin_address(&self) -> Option<&ListenAddress> {
        self.admin.as_ref().map(|admin| &admin.address)
    }

    /// The server.
    pub fn server(&self) -> &Arc<S> {
        &self.server
    }

    /// Where its data is.
    pub fn datastore(&self) -> &Arc<S::Datastore> {
        self.opened.get()
    }

    /// With these routes as well.
    #[must_use]
    pub fn with_routes(self, routes: Router) -> Self {
        Self { routes: self.routes.merge(routes), ..self }
    }

    /// Certificates to be read again.
    pub(crate) fn tls(&self) -> Vec<ListenerTls> {
        self.listeners.iter().chain(&self.admin).map(|listener| listener.tls.clone()).collect()
    }

    /// Serves until `stop` completes, or a part of it [asks](Supervisor::ask_to_shut_down) for the end. Then it accepts no more, ends streams, and lets requests come to their end; then
    /// what runs in the background; then it closes the datastore: all by the deadline.
    ///
    /// # Errors
    /// If it cannot listen any more. Then it ends as if it had been stopped.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<Stopped> {
        let Self { supervisor, settings, opened, server, routes, listeners, admin, readiness, identity } =
            self;
        let exporter = Exporter::new(&supervisor);
        let whole = settings.shutdown.deadline.get();
        let app = app::<S>(&supervisor, &settings, routes);
        let failed = Notify::new();
        let serving = join_all(listeners.into_iter().map(|listener| {
            let options = options(&supervisor, &settings, &listener.name);
            let options = options.shutdown_deadline(Deadlines::for_requests(whole));
            let served = listener.serve(app.clone(), options);
            async {
                let served = served.await;
                if served.is_err() {
                    failed.notify_one();
                }
                served
            }
        }));
        let admin = async {
            let Some(listener) = admin else { return Ok(None) };
            let token = settings.admin.token.clone();
            let routes = admin::routes(&supervisor, exporter, Arc::clone(&readiness), identity, token);
            let app = routes.layer(contexts::<S>(&supervisor).quiet_paths(ADMIN_PATHS));
            let options = options(&supervisor, &settings, "admin").while_draining();
            listener.serve(app, options.shutdown_deadline(LAST_ANSWERS)).await.map(Some)
        };
        let ending = async {
            let stopping = async {
                let asked = tokio::select! {
                    () = stop => None,
                    () = failed.notified() => None,
                    reason = supervisor.asked_to_shut_down() => Some(reason),
                };
                readiness.ends();
                supervisor.drain();
                (Deadlines::from_now(whole), supervisor.context("shutdown").start(), asked)
            };
            let (served, (deadlines, context, asked)) = tokio::join!(serving, stopping);
            let rest = deadlines.rest_for_background();
            let shutdown = supervisor.shutdown(rest).in_context(context.clone()).await;
            (served, shutdown, deadlines, context, asked)
        };
        let (admin, (served, shutdown, deadlines, context, asked)) = tokio::join!(admin, ending);
        // Nothing uses them any more.
        let rest = deadlines.rest();
        let closed = timeout(rest, server.close(rest)).in_context(context.clone()).await.is_ok();
        if !closed {
            context.scope(|| tracing::warn!("the server was not closed by the deadline"));
        }
        let left_open = opened.close(deadlines.rest()).in_context(context.clone()).await;
        let cut = served.iter().flatten().chain(admin.iter().flatten()).map(|served| served.aborted).sum();
        let stopped = Stopped { aborted: shutdown.aborted, cut, left_open, asked };
        context.scope(|| stopped.tell(deadlines.elapsed()));
        context.finish();
        admin?;
        served.into_iter().collect::<io::Result<Vec<_>>>()?;
        Ok(stopped)
    }
}

impl<S: Server> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses().map(ToString::to_string).collect();
        f.debug_struct("Service")
            .field("server", &S::NAME)
            .field("addresses", &addresses)
            .finish_non_exhaustive()
    }
}

/// How long the last questions to the admin listener may take, once all else has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Who asks for these, asks every few seconds.
const ADMIN_PATHS: [&str; 6] = ["/metrics", "/health", "/ready", "/status", "/contexts", "/background"];

async fn bind_all(settings: &[ListenerSettings]) -> Result<Vec<Bound>, StartError> {
    let mut all = Vec::with_capacity(settings.len());
    for listener in settings {
        all.push(Bound::new(listener).await?);
    }
    Ok(all)
}

async fn bind_admin(settings: &ServiceSettings) -> Result<Option<Bound>, StartError> {
    if let Some(address) = settings.admin.exposed() {
        return Err(StartError::Exposed(address.clone()));
    }
    match settings.admin.address() {
        Some(address) => Bound::new(&ListenerSettings::new(address.clone())).await.map(Some),
        None => Ok(None),
    }
}

/// The limits inside of the context: what is refused has its access line.
fn app<S: Server>(supervisor: &Supervisor, settings: &ServiceSettings, routes: Router) -> Router {
    let limits = BodyLimitLayer::new()
        .max_size(settings.limits.body_size.bytes())
        .timeout(settings.limits.body_time.get());
    routes.layer(limits).layer(S::contexts(contexts::<S>(supervisor)).panic_response(|_| S::panicked()))
}

/// What is set here is set for every answer.
fn contexts<S: Server>(supervisor: &Supervisor) -> ContextLayer {
    let server = HeaderValue::try_from(format!("{}/{}", S::NAME, S::VERSION));
    ContextLayer::new()
        .supervisor(supervisor)
        .server_header(server.expect("a name and a version of plain letters"))
}

fn options(supervisor: &Supervisor, settings: &ServiceSettings, name: &str) -> ServeOptions {
    let limits = &settings.limits;
    let options = ServeOptions::default()
        .name(name)
        .supervisor(supervisor)
        .header_read_timeout(limits.header_time.get());
    match limits.connections {
        Some(connections) => options.max_connections(connections.get()),
        None => options,
    }
}

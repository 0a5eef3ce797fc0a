//! [`Bus`]: the handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use logcontext::Supervisor;
use logcontext::source::Source;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blocking::Threads;
use crate::config::BusConfig;
use crate::error::ConnectError;
use crate::fire::KnownEvents;
use crate::handlers::Handlers;
use crate::listen::ListenerNames;
use crate::schema::Checks;
use crate::transport::{Connector, Inbox, Link, Status, Transport};
use crate::upkeep::Upkeep;
use crate::within::within;

/// A handle to the bus: clone it anywhere, use it from any task, thread or runtime. When the last one is dropped, its
/// connections are closed.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: BusConfig,
    pub(crate) identity: Arc<str>,
    pub(crate) supervisor: Supervisor,
    /// Where its loops and timers run, whoever uses it from wherever.
    pub(crate) runtime: Handle,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) handlers: Handlers,
    pub(crate) threads: Threads,
    pub(crate) checks: Checks,
    pub(crate) events: Arc<KnownEvents>,
    pub(crate) listeners: ListenerNames,
    /// Those that have not ended. None of them begins a handler after its end.
    pub(crate) listeners_running: Handlers,
    pub(crate) upkeep: Upkeep,
    /// It is being closed.
    pub(crate) closing: CancellationToken,
}

impl Bus {
    /// A bus over this transport, on the current runtime, for the current supervisor. It does not wait for the broker:
    /// what is asked of it meanwhile waits, each within its own time.
    ///
    /// # Errors
    /// If the configuration cannot be.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn over(config: &BusConfig, connector: &dyn Connector) -> Result<Self, ConnectError> {
        config.check()?;
        let runtime = Handle::current();
        let identity: Arc<str> = format!("{}/{:016x}", config.service, fastrand::u64(..)).into();
        let supervisor = Supervisor::current();
        let inbox = Arc::new(Inbox::default());
        let link = Link {
            config: config.clone(),
            identity: Arc::clone(&identity),
            inbox: Arc::clone(&inbox),
            supervisor: supervisor.clone(),
        };
        let transport = connector.connect(link)?;
        let threads = Threads::new(&supervisor, &runtime);
        let events = Arc::new(KnownEvents::new(&config.service));
        let source: Arc<dyn Source> = events.clone();
        supervisor.register(&source);
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            identity,
            supervisor,
            runtime,
            transport,
            inbox,
            handlers: Handlers::default(),
            threads,
            checks: Checks::default(),
            events,
            listeners: ListenerNames::default(),
            listeners_running: Handlers::default(),
            upkeep: Upkeep::default(),
            closing: CancellationToken::new(),
        })))
    }

    /// What it is called: its service, and a part that no other has.
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// How its connection to the broker is doing.
    pub fn status(&self) -> Status {
        self.0.transport.status()
    }

    /// Takes nothing more, waits for so long until listeners have come to their end and what is to be sent has been, and
    /// closes all connections. The last thing to do.
    pub async fn close(&self, deadline: Duration) {
        let inner = &self.0;
        let now = || {
            let _entered = inner.runtime.enter();
            Instant::now()
        };
        let end = now() + deadline;
        inner.closing.cancel();
        within(&inner.runtime, deadline, inner.listeners_running.none()).await;
        inner.transport.close(end.saturating_duration_since(now())).await;
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("identity", &self.identity())
            .field("transport", &self.0.transport)
            .finish()
    }
}

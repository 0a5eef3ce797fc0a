//! [`Bus`]: the handle.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use logcontext::Supervisor;
use logcontext::source::Source;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blocking::Threads;
use crate::call::Callees;
use crate::config::BusConfig;
use crate::error::ConnectError;
use crate::handlers::Handlers;
use crate::schema::Checks;
use crate::serve::Serving;
use crate::transport::{Connector, Inbox, Link, Status, Transport};
use crate::waits::Sweeping;

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
    /// Somebody has begun to close it.
    pub(crate) closing: CancellationToken,
    pub(crate) checks: Checks,
    pub(crate) callees: Arc<Callees>,
    pub(crate) serving: Serving,
    /// So many nested calls are handled.
    pub(crate) nested: AtomicUsize,
    _sweeping: Sweeping,
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
        let callees = Callees::new(&config.service, &inbox);
        let source: Arc<dyn Source> = Arc::clone(&callees) as _;
        supervisor.register(&source);
        let sweeping = Sweeping::begin(Arc::clone(&inbox), &runtime);
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            identity,
            supervisor,
            runtime,
            transport,
            inbox,
            handlers: Handlers::default(),
            threads,
            closing: CancellationToken::new(),
            checks: Checks::default(),
            callees,
            serving: Serving::default(),
            nested: AtomicUsize::new(0),
            _sweeping: sweeping,
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

    /// Takes nothing more, sends for so long what is to be sent, and closes all connections.
    pub async fn close(&self, deadline: Duration) {
        self.0.closing.cancel();
        self.0.transport.close(deadline).await;
        self.0.inbox.close();
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Inner {
    /// Now, by the bus's own clock, which a test may have stopped, whoever asks.
    pub(crate) fn now(&self) -> Instant {
        let _entered = self.runtime.enter();
        Instant::now()
    }

    /// Handlers of calls as deep as that are one deeper, and still known to be.
    pub(crate) fn max_depth(&self) -> u8 {
        self.config.max_depth.min(u8::MAX - 1)
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

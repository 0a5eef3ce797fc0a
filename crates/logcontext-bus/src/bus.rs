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
use crate::figures::ConnectionFigures;
use crate::fire::KnownEvents;
use crate::handlers::Handlers;
use crate::listen::ListenerNames;
#[cfg(feature = "outbox")]
use crate::outbox::Wakers;
use crate::schema::{Checks, Sharing};
use crate::serve::Serving;
use crate::transport::{Connector, Inbox, Link, Memory, Status, Transport};
use crate::upkeep::Upkeep;
use crate::waits::Sweeping;
use crate::within::within;

const EXPECTED: &str = match (cfg!(feature = "redis"), cfg!(feature = "nats")) {
    (true, true) => "memory:, redis://host:port/ or nats://host:port",
    (true, false) => "memory: or redis://host:port/, without the feature `nats`,",
    (false, true) => "memory: or nats://host:port, without the feature `redis`,",
    (false, false) => "memory:, without the features `redis` and `nats`,",
};

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
    pub(crate) sharing: Sharing,
    pub(crate) threads: Threads,
    /// Somebody has begun to close it.
    pub(crate) closing: CancellationToken,
    pub(crate) checks: Checks,
    pub(crate) events: Arc<KnownEvents>,
    pub(crate) listeners: ListenerNames,
    pub(crate) shardings: ListenerNames,
    /// Those that have not ended. None of them begins a handler after its end.
    pub(crate) listeners_running: Handlers,
    pub(crate) upkeep: Upkeep,
    pub(crate) callees: Arc<Callees>,
    pub(crate) serving: Serving,
    /// So many nested calls are handled.
    pub(crate) nested: AtomicUsize,
    /// The outboxes that events are stored in.
    #[cfg(feature = "outbox")]
    pub(crate) outboxes: Wakers,
    _sweeping: Sweeping,
    /// The supervisor has no hold on it.
    _figures: Arc<dyn Source>,
}

impl Bus {
    /// A bus to the broker of the configuration's URL, on the current runtime, for the current supervisor. It does not
    /// wait for the broker: what is asked of it meanwhile waits, each within its own time.
    ///
    /// `memory:` is a broker that only this bus has; several share one by [`over`](Self::over).
    ///
    /// # Errors
    /// If the configuration cannot be, or the URL is none that is known here.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[expect(clippy::unused_async, reason = "outside a runtime there is nothing to connect on")]
    pub async fn connect(config: &BusConfig) -> Result<Self, ConnectError> {
        match config.url.split_once(':') {
            Some(("memory", "")) => Self::over(config, &Memory::new()),
            #[cfg(feature = "redis")]
            Some(("redis" | "rediss" | "redis+unix", _)) => {
                Self::over(config, &crate::transport::Redis::new(&config.url)?)
            }
            #[cfg(feature = "nats")]
            Some(("nats" | "tls", _)) => Self::over(config, &crate::transport::Nats::new(&config.url)?),
            // Nothing of it is shown: there may be a password in it.
            _ => Err(ConnectError::Url(format!("expected {EXPECTED} as the URL of a bus"))),
        }
    }

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
        let figures: Arc<dyn Source> = Arc::new(ConnectionFigures {
            service: config.service.clone(),
            transport: Arc::clone(&transport),
        });
        supervisor.register(&figures);
        let upkeep = Upkeep::new(&config.service);
        supervisor.register(&upkeep.figures());
        let threads = Threads::new(&supervisor, &runtime);
        let callees = Callees::new(&config.service, &inbox);
        let source: Arc<dyn Source> = Arc::clone(&callees) as _;
        supervisor.register(&source);
        let sweeping = Sweeping::begin(Arc::clone(&inbox), &runtime);
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
            sharing: Sharing::default(),
            threads,
            closing: CancellationToken::new(),
            checks: Checks::default(),
            events,
            listeners: ListenerNames::default(),
            shardings: ListenerNames::default(),
            listeners_running: Handlers::default(),
            upkeep,
            callees,
            serving: Serving::default(),
            nested: AtomicUsize::new(0),
            #[cfg(feature = "outbox")]
            outboxes: Wakers::default(),
            _sweeping: sweeping,
            _figures: figures,
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
        let end = inner.now() + deadline;
        inner.closing.cancel();
        within(&inner.runtime, deadline, inner.listeners_running.none()).await;
        inner.transport.close(end.saturating_duration_since(inner.now())).await;
        inner.inbox.close();
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

//! What one bus has of the broker.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use logcontext::Supervisor;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::Client;
use super::lock;
use super::server::Served;
use super::space::Space;
use super::subscribed::Subscribed;
use crate::transport::{
    CallTransport, Doing, EventLog, EventTransport, Leases, Link, Schemas, Status, Transport, TransportError,
};

/// The bus's end of it.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    subscribed: Mutex<Vec<Weak<Subscribed>>>,
    served: Mutex<Vec<Weak<Served>>>,
}

/// What its consumers and servers need of it.
pub(super) struct Shared {
    pub(super) space: Arc<Space>,
    pub(super) client: Arc<Client>,
    pub(super) runtime: Handle,
    pub(super) supervisor: Supervisor,
    is_closed: AtomicBool,
}

impl Shared {
    pub(super) fn check(&self) -> Result<(), TransportError> {
        if self.is_closed.load(SeqCst) { Err(TransportError::Closed) } else { Ok(()) }
    }

    /// Does it as soon as somebody waits for it.
    pub(super) fn doing<'a, T: Send + 'a>(
        &'a self,
        f: impl FnOnce() -> Result<T, TransportError> + Send + 'a,
    ) -> Doing<'a, T> {
        Box::pin(async move {
            self.check()?;
            f()
        })
    }

    /// By the clock of the bus's runtime, which a test may have stopped.
    pub(super) fn now(&self) -> Instant {
        let _entered = self.runtime.enter();
        Instant::now()
    }
}

impl Connection {
    pub(super) fn new(space: Arc<Space>, link: Link) -> Self {
        let client = Arc::new(Client {
            identity: Arc::clone(&link.identity),
            inbox: link.inbox,
            queue: link.config.queue,
            waiting: AtomicUsize::new(0),
        });
        space.clients.insert(link.identity, Arc::clone(&client));
        let shared = Shared {
            space,
            client,
            runtime: Handle::current(),
            supervisor: link.supervisor,
            is_closed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), subscribed: Mutex::default(), served: Mutex::default() }
    }

    pub(super) fn keep_subscribed(&self, subscribed: &Arc<Subscribed>) -> Result<(), TransportError> {
        keep(&self.subscribed, subscribed);
        // A close may have looked before.
        self.shared.check()
    }

    pub(super) fn keep_served(&self, served: &Arc<Served>) -> Result<(), TransportError> {
        keep(&self.served, served);
        self.shared.check()
    }

    fn close_now(&self) {
        let shared = &self.shared;
        if shared.is_closed.swap(true, SeqCst) {
            return;
        }
        let identity = &shared.client.identity;
        shared.space.clients.remove(identity);
        for queue in shared.space.queues.all() {
            queue.forget_client(identity);
        }
        shared.client.inbox.lost_all(&"the bus is closed".into());
        for subscribed in std::mem::take(&mut *lock(&self.subscribed)).iter().filter_map(Weak::upgrade) {
            subscribed.die();
        }
        for served in std::mem::take(&mut *lock(&self.served)).iter().filter_map(Weak::upgrade) {
            served.die();
        }
        lock(&shared.space.leased).leave_all(identity);
    }
}

/// Remembers it, and forgets those that are gone.
fn keep<T>(kept: &Mutex<Vec<Weak<T>>>, one: &Arc<T>) {
    let mut kept = lock(kept);
    kept.retain(|other| other.strong_count() > 0);
    kept.push(Arc::downgrade(one));
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close_now();
    }
}

impl Transport for Connection {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn events(&self) -> &dyn EventTransport {
        self
    }

    fn calls(&self) -> &dyn CallTransport {
        self
    }

    fn log(&self) -> &dyn EventLog {
        self
    }

    fn leases(&self) -> &dyn Leases {
        self
    }

    fn schemas(&self) -> &dyn Schemas {
        self
    }

    fn status(&self) -> Status {
        let Shared { client, space, .. } = &*self.shared;
        let mut status = Status::new();
        status.queued = client.waiting.load(SeqCst);
        status.is_full =
            status.queued > 0 && space.queues.all().iter().any(|queue| queue.is_full(client.queue));
        if self.shared.check().is_err() {
            status.connected = Err("the bus is closed".into());
        }
        status
    }

    fn connected(&self) -> Doing<'_, ()> {
        self.shared.doing(|| Ok(()))
    }

    /// At once: what was taken is done.
    fn close(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { self.close_now() })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("status", &self.status()).finish()
    }
}

//! A broker in memory that does what it is told: holds what is published, refuses it, loses it; and that notes how it was
//! published.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext_bus::ConnectError;
use logcontext_bus::transport::{
    CallTransport, Connector, Doing, EventId, EventLog, EventTransport, Leases, Link, Memory, Publish,
    Schemas, Status, Subscribe, Subscription, Transport, TransportError,
};
use tokio::sync::Semaphore;

use super::Set;

#[derive(Clone, Debug, Default)]
pub struct Broker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    memory: Memory,
    /// One for each event that may go through.
    gate: Semaphore,
    /// Events of this user are refused.
    poison: Mutex<Option<(String, &'static str)>>,
    is_away: AtomicBool,
    /// Of each key: so many are under way.
    under_way: Mutex<HashMap<String, usize>>,
    most: AtomicUsize,
    /// Two of one key were.
    were_two: AtomicBool,
    published: Mutex<Vec<Set>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            memory: Memory::new(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            poison: Mutex::default(),
            is_away: AtomicBool::default(),
            under_way: Mutex::default(),
            most: AtomicUsize::default(),
            were_two: AtomicBool::default(),
            published: Mutex::default(),
        }
    }
}

impl Broker {
    /// Takes so many more, and then none.
    pub fn take(&self, count: usize) {
        self.0.gate.forget_permits(usize::MAX);
        self.0.gate.add_permits(count);
    }

    pub fn take_all(&self) {
        self.take(Semaphore::MAX_PERMITS / 2);
    }

    /// From now on refuses what is of this user, and says this.
    pub fn refuse(&self, user: &str, why: &'static str) {
        *self.0.poison.lock().unwrap() = Some((user.to_owned(), why));
    }

    pub fn refuse_none(&self) {
        *self.0.poison.lock().unwrap() = None;
    }

    /// There is no connection to it.
    pub fn is_away(&self, is: bool) {
        self.0.is_away.store(is, SeqCst);
    }

    /// All that it has taken, in order.
    pub fn published(&self) -> Vec<Set> {
        self.0.published.lock().unwrap().clone()
    }

    pub fn were_two_of_one_key_under_way(&self) -> bool {
        self.0.were_two.load(SeqCst)
    }

    /// So many are under way now.
    pub fn under_way(&self) -> usize {
        self.0.under_way.lock().unwrap().values().sum()
    }

    /// So many were under way at once, at most.
    pub fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }
}

impl Connector for Broker {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        Ok(Arc::new(Tap { shared: Arc::clone(&self.0), inner: self.0.memory.connect(link)? }))
    }
}

#[derive(Debug)]
struct Tap {
    shared: Arc<Shared>,
    inner: Arc<dyn Transport>,
}

/// One that is under way.
struct UnderWay<'a>(&'a Shared, String);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared, key: String) -> Self {
        let mut under_way = shared.under_way.lock().unwrap();
        let count = under_way.entry(key.clone()).or_default();
        *count += 1;
        shared.were_two.fetch_or(*count > 1, SeqCst);
        shared.most.fetch_max(under_way.values().sum(), SeqCst);
        Self(shared, key)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.under_way.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

impl EventTransport for Tap {
    fn publish(&self, event: Publish) -> Doing<'_, EventId> {
        Box::pin(async move {
            let set: Set = serde_json::from_slice(&event.message.body).expect("one of ours");
            let _under_way = UnderWay::new(&self.shared, set.user.clone());
            if self.shared.is_away.load(SeqCst) {
                return Err(TransportError::Lost("it is away".into()));
            }
            self.shared.gate.acquire().await.expect("open").forget();
            let poison = self.shared.poison.lock().unwrap().clone();
            if let Some((_, why)) = poison.filter(|(user, _)| *user == set.user) {
                return Err(TransportError::Refused(why.to_owned()));
            }
            let id = self.inner.events().publish(event).await?;
            self.shared.published.lock().unwrap().push(set);
            Ok(id)
        })
    }

    fn is_passing(&self, refusal: &str) -> bool {
        refusal.starts_with("FULL")
    }

    fn subscribe(&self, wish: Subscribe) -> Doing<'_, Arc<dyn Subscription>> {
        self.inner.events().subscribe(wish)
    }
}

impl Transport for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn events(&self) -> &dyn EventTransport {
        self
    }

    fn calls(&self) -> &dyn CallTransport {
        self.inner.calls()
    }

    fn log(&self) -> &dyn EventLog {
        self.inner.log()
    }

    fn leases(&self) -> &dyn Leases {
        self.inner.leases()
    }

    fn schemas(&self) -> &dyn Schemas {
        self.inner.schemas()
    }

    fn status(&self) -> Status {
        let mut status = self.inner.status();
        if self.shared.is_away.load(SeqCst) {
            status.connected = Err("it is away".into());
        }
        status
    }

    fn connected(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            while self.shared.is_away.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.inner.connected().await
        })
    }

    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.inner.close(deadline)
    }
}

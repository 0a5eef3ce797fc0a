//! Making a cache that expires.

use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use logcontext::Supervisor;
use logcontext::source::Source;
use tokio::sync::Notify;

use super::figures::Figures;
use super::listener::{EvictionCause, Told};
use super::schedule::Schedule;
use super::shared::Shared;
use super::{ExpiringCache, Handle, reaper};
use crate::clock::Clock;
use crate::store::store;
use crate::sync::{AtomicBool, Mutex};

/// A cache that expires, in the making: see [`ExpiringCache::builder`].
#[derive(Clone, Debug)]
#[must_use = "a cache is made by `build`"]
pub struct ExpiringBuilder {
    name: Box<str>,
    capacity: usize,
    expiry: Option<Duration>,
    renew: bool,
    supervisor: Option<Supervisor>,
}

impl ExpiringBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), capacity: 10_000, expiry: None, renew: false, supervisor: None }
    }

    /// How long an entry is kept, unless it [says otherwise](ExpiringCache::insert_with_expiry) itself. Without this,
    /// until it is evicted or removed. By tokio's clock.
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Each read of an entry gives it its whole time again. Synapse: `reset_expiry_on_get`.
    #[doc(alias = "reset_expiry_on_get")]
    pub fn renew_on_read(mut self) -> Self {
        self.renew = true;
        self
    }

    /// At most so many entries, those included that have expired and are about to be removed; 10,000 unless told
    /// otherwise. Which ones go is CLOCK-Pro's choice, a policy that keeps what is read again and is not flushed by keys
    /// that come once. The cache is in parts, each of which has its share of the entries, so the first may go a little
    /// before the cache is full.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// The supervisor that it belongs to, if not the current one.
    pub fn supervisor(mut self, supervisor: &Supervisor) -> Self {
        self.supervisor = Some(supervisor.clone());
        self
    }

    /// The cache. Its background process begins here, or with the first entry that is inserted within a runtime (one
    /// with its timer enabled).
    ///
    /// If another cache of the supervisor has this name already, this one is numbered, and a diagnostic is raised.
    #[track_caller]
    pub fn build<K, V>(self) -> ExpiringCache<K, V>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        self.with(None, Location::caller())
    }

    /// The cache, and who is told of each entry that goes: its key, its value, and why. The listener runs in the cache's
    /// background process, never in whoever happened to push an entry out; while no process runs (outside a runtime,
    /// after the shutdown) it is called at once, in a context of the cache's as well. A panic in it is logged, and it is
    /// told of the next one. It is not told of what is left when the last handle is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext::current_context;
    /// use logcontext_cache::{EvictionCause, ExpiringCache};
    /// use std::time::Duration;
    ///
    /// let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    /// let typing = ExpiringCache::builder("typing").expiry(Duration::from_millis(5)).build_with_listener(
    ///     move |user: &str, _room: u32, cause| {
    ///         let _ = tell.send((user, cause, current_context().name().to_owned()));
    ///     },
    /// );
    /// typing.insert("alice", 17);
    /// let process = "prune_cache-typing-0".to_owned();
    /// assert_eq!(told.recv().await, Some(("alice", EvictionCause::Expired, process)));
    /// # }
    /// ```
    #[track_caller]
    pub fn build_with_listener<K, V>(
        self,
        listener: impl Fn(K, V, EvictionCause) + Send + Sync + 'static,
    ) -> ExpiringCache<K, V>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        self.with(Some(Told::new(Box::new(listener))), Location::caller())
    }

    fn with<K, V>(self, told: Option<Told<K, V>>, origin: &'static Location<'static>) -> ExpiringCache<K, V>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let supervisor = self.supervisor.unwrap_or_else(Supervisor::current);
        let shared = Arc::new(Shared {
            name: supervisor.claim_name("cache", &self.name, origin),
            origin,
            capacity: self.capacity,
            expiry: self.expiry,
            renew: self.renew,
            clock: Clock::new(),
            figures: Figures::default(),
            store: store(self.capacity),
            schedule: Mutex::new(Schedule::new(self.expiry)),
            records: AtomicU64::new(0),
            told,
            is_reaped: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            wake: Notify::new(),
            supervisor,
        });
        let source: Arc<dyn Source> = Arc::clone(&shared) as _;
        shared.supervisor.register(&source);
        let _ = reaper::ensure(&shared);
        ExpiringCache { handle: Arc::new(Handle { shared }) }
    }
}

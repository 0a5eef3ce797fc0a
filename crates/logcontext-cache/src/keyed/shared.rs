//! What both kinds of queue are made of.

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use logcontext::source::Source;
use logcontext::{ClaimedName, FutureExt, LogContext, Supervisor, current_context};

use super::KEYED_WAIT;
use super::access::Access;
use super::figures::Figures;
use super::listing::{Holder, Waiter, list};
use super::long_waits::LongWaits;
use super::places::{Places, SeatAt};
use super::shard::{Overdue, Waited};
use super::watch::Watch;
use crate::clock::nanos;

/// What something can be queued by: a room, a user, a file. Every type is one that has these traits.
///
/// Keys are compared while a lock is held, and copied where somebody asks who holds what.
pub trait QueueKey: Hash + Eq + Clone + Debug + Send + 'static {}

impl<K: Hash + Eq + Clone + Debug + Send + 'static> QueueKey for K {}

/// How a queue is to be.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: Box<str>,
    pub(super) kind: &'static str,
    pub(super) capacity: u32,
    pub(super) slow_wait: Duration,
    pub(super) supervisor: Option<Supervisor>,
}

impl Settings {
    pub(super) fn new(name: Box<str>, kind: &'static str, capacity: u32) -> Self {
        Self { name, kind, capacity, slow_wait: Duration::from_secs(1), supervisor: None }
    }
}

pub(super) struct Keyed<K> {
    pub(super) name: ClaimedName,
    pub(super) kind: &'static str,
    /// The line that made it.
    pub(super) origin: &'static Location<'static>,
    pub(super) supervisor: Supervisor,
    pub(super) places: Places<K>,
    pub(super) figures: Figures,
    log: LongWaits,
    pub(super) watch: Watch,
}

impl<K: QueueKey> Keyed<K> {
    pub(super) fn new(settings: Settings, origin: &'static Location<'static>) -> Arc<Self> {
        let supervisor = settings.supervisor.unwrap_or_else(Supervisor::current);
        // Some for each processor, so that two rarely meet in one.
        let shards = std::thread::available_parallelism().map_or(4, usize::from).saturating_mul(4);
        let this = Arc::new(Self {
            name: supervisor.claim_name(settings.kind, &settings.name, origin),
            kind: settings.kind,
            origin,
            supervisor,
            places: Places::new(shards.min(256), settings.capacity, settings.slow_wait),
            figures: Figures::default(),
            log: LongWaits::default(),
            watch: Watch::default(),
        });
        let source: Arc<dyn Source> = Arc::clone(&this) as _;
        this.supervisor.register(&source);
        this
    }

    #[inline]
    pub(super) fn try_take(self: &Arc<Self>, key: K, access: Access) -> Option<Held<K>> {
        let (seat, _) = self.places.arrive(key, access, false, current_context())?;
        Some(self.held(seat, Duration::ZERO))
    }

    #[inline]
    pub(super) fn held(self: &Arc<Self>, seat: SeatAt, waited: Duration) -> Held<K> {
        Held { keyed: Arc::clone(self), seat, waited }
    }

    /// A wait is over: whoever has waited is charged the time, and told if it was long.
    pub(super) fn waited(&self, context: &LogContext, over: Waited<K>) {
        context.add(&KEYED_WAIT, nanos(over.waited));
        self.figures.waits.observe(over.waited);
        if over.gave_up {
            self.figures.gave_up.fetch_add(1, Relaxed);
        }
        if let Some(long) = over.long {
            self.long_wait(&long);
        }
    }

    fn long_wait(&self, overdue: &Overdue<K>) {
        self.figures.long_waits.fetch_add(1, Relaxed);
        self.log.long_wait(&self.name, self.kind, overdue);
    }

    pub(super) fn holders(&self) -> Vec<Holder<K>> {
        list(&self.places, true, |key, access, context, since| Holder { key, access, context, since })
    }

    pub(super) fn waiting(&self) -> Vec<Waiter<K>> {
        list(&self.places, false, |key, access, context, since| Waiter { key, access, context, since })
    }

    pub(super) fn fmt(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, holding, waiting, _) = self.places.counts();
        let mut out = f.debug_struct(kind);
        out.field("name", &&*self.name).field("keys_in_use", &keys);
        out.field("holding", &holding).field("waiting", &waiting).finish_non_exhaustive()
    }

    pub(super) fn keys_in_use(&self) -> usize {
        self.places.counts().0
    }

    /// Reports those who have waited for too long.
    pub(super) async fn report(&self, found: Vec<Overdue<K>>) {
        for overdue in found {
            let context = overdue.waiter.clone();
            // In the waiter's log, which may be the log of something that has finished otherwise.
            async move { self.long_wait(&overdue) }.following(context).await;
        }
    }
}

impl<K> Drop for Keyed<K> {
    fn drop(&mut self) {
        self.watch.end();
    }
}

/// A key that is held: given back when it is dropped, on whichever thread.
pub(super) struct Held<K: QueueKey> {
    keyed: Arc<Keyed<K>>,
    seat: SeatAt,
    waited: Duration,
}

impl<K: QueueKey> Held<K> {
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    pub(super) fn fmt(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct(kind);
        out.field("name", &&*self.keyed.name).field("waited", &self.waited).finish_non_exhaustive()
    }
}

impl<K: QueueKey> Drop for Held<K> {
    #[inline]
    fn drop(&mut self) {
        self.keyed.places.release(self.seat);
    }
}

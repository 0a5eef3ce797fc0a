//! What the sender counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use logcontext::source::{Collector, Figure, FigureKind, Histogram, Source};

use super::destination::Destination;

/// How a transaction has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// The hub has it.
    Ok,
    /// The hub could not be told.
    Failed,
    /// The hub refused it, and would again.
    Dropped,
}

/// The figures of all shards that are held here.
#[derive(Debug)]
pub(super) struct Figures {
    destinations: Mutex<Vec<Weak<Destination>>>,
    ok: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    states: AtomicU64,
    times: Histogram,
}

/// What is to be sent just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) destinations: usize,
    pub(super) states: usize,
    pub(super) behind: usize,
}

const fn figure(name: &'static str, help: &'static str, kind: FigureKind) -> Figure {
    Figure { name, help, kind }
}

const PENDING: Figure = figure(
    "presence_pending_destinations",
    "Hubs that something waits to be sent to, or is being sent to.",
    FigureKind::Gauge,
);
const STATES: Figure = figure(
    "presence_pending_states",
    "States that wait to be sent or are being sent, of all hubs together.",
    FigureKind::Gauge,
);
const BEHIND: Figure = figure(
    "presence_destinations_behind",
    "Hubs that could not be told, and have to catch up.",
    FigureKind::Gauge,
);
const TRANSACTIONS: Figure =
    figure("presence_transactions", "Transactions sent to other hubs, by outcome.", FigureKind::Counter);
const SENT: Figure =
    figure("presence_states_sent", "States that other hubs have taken.", FigureKind::Counter);
const TIMES: Figure =
    figure("presence_transaction_seconds", "Time that transactions took.", FigureKind::Histogram);

impl Figures {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let (ok, failed, dropped, states) = (zero(), zero(), zero(), zero());
        Self { destinations: Mutex::default(), ok, failed, dropped, states, times: Histogram::seconds() }
    }

    /// Looks at these as well, as long as they are there.
    pub(super) fn look_at(&self, destinations: &[Arc<Destination>]) {
        let mut all = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|destination| destination.strong_count() > 0);
        all.extend(destinations.iter().map(Arc::downgrade));
    }

    pub(super) fn pending(&self) -> Pending {
        let all = self.destinations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut pending = Pending::default();
        for destination in all.iter().filter_map(Weak::upgrade) {
            let (waiting, is_behind) = destination.pending();
            pending.destinations += usize::from(waiting > 0);
            pending.states += waiting;
            pending.behind += usize::from(is_behind);
        }
        pending
    }

    pub(super) fn transaction(&self, outcome: Outcome, states: usize, took: Duration) {
        let counter = match outcome {
            Outcome::Ok => &self.ok,
            Outcome::Failed => &self.failed,
            Outcome::Dropped => &self.dropped,
        };
        counter.fetch_add(1, Relaxed);
        if matches!(outcome, Outcome::Ok) {
            self.states.fetch_add(states as u64, Relaxed);
        }
        self.times.observe(took);
    }
}

impl Source for Figures {
    fn describe(&self) -> &[Figure] {
        const { &[PENDING, STATES, BEHIND, TRANSACTIONS, SENT, TIMES] }
    }

    fn collect(&self, out: &mut dyn Collector) {
        let Pending { destinations, states, behind } = self.pending();
        out.value(PENDING.name, &[], destinations as f64);
        out.value(STATES.name, &[], states as f64);
        out.value(BEHIND.name, &[], behind as f64);
        for (outcome, counter) in [("ok", &self.ok), ("failed", &self.failed), ("dropped", &self.dropped)] {
            out.value(TRANSACTIONS.name, &[("outcome", outcome)], counter.load(Relaxed) as f64);
        }
        out.value(SENT.name, &[], self.states.load(Relaxed) as f64);
        out.histogram(TIMES.name, &[], &self.times.read());
    }
}

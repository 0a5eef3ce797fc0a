//! What is counted of an outbox. What waits is shown by the one process that sends it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use logcontext::source::{Collector, Figure, Histogram, Source};

use crate::figures::{counter, gauge, histogram};

const ROWS: Figure = gauge("outbox_rows", "Events that are stored and not sent yet.");
const OLDEST: Figure = gauge("outbox_oldest_seconds", "How long the oldest of them has waited.");
const ASIDE: Figure = gauge("outbox_set_aside", "Events that could not be sent, and were set aside.");
const LEASED: Figure = gauge("outbox_leased", "1 while this process sends for all, else 0.");
const TIMES: Figure =
    histogram("outbox_relay_seconds", "Time from when an event was stored to when the broker had it.");
const REFUSED: Figure = counter("outbox_refusals", "Times that the broker has refused an event.");
const FAILED: Figure = counter("outbox_relay_failures", "Times that the relay could not go on, and waited.");

#[derive(Debug)]
pub(super) struct Figures {
    bus: String,
    database: String,
    waiting: Mutex<Option<Waiting>>,
    pub(super) times: Histogram,
    pub(super) refusals: AtomicU64,
    /// The broker or the database was not there.
    pub(super) failures: AtomicU64,
}

/// What waits, as it was when the relay last looked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    pub(super) rows: u64,
    /// When the oldest was stored.
    pub(super) oldest: Option<Instant>,
    pub(super) aside: u64,
}

impl Waiting {
    /// How long the oldest has waited.
    pub(super) fn age(&self) -> Duration {
        self.oldest.map(|oldest| oldest.elapsed()).unwrap_or_default()
    }
}

impl Figures {
    pub(super) fn new(bus: &str, database: &str) -> Self {
        Self {
            bus: bus.to_owned(),
            database: database.to_owned(),
            waiting: Mutex::default(),
            times: Histogram::seconds(),
            refusals: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// `None` if another process sends.
    pub(super) fn show(&self, waiting: Option<Waiting>) {
        *self.lock() = waiting;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Figures {
    fn describe(&self) -> &[Figure] {
        const { &[ROWS, OLDEST, ASIDE, LEASED, TIMES, REFUSED, FAILED] }
    }

    fn collect(&self, out: &mut dyn Collector) {
        let labels: &[(&'static str, &str)] = &[("bus", &self.bus), ("database", &self.database)];
        let waiting = *self.lock();
        if let Some(waiting) = waiting {
            out.value(ROWS.name, labels, waiting.rows as f64);
            out.value(OLDEST.name, labels, waiting.age().as_secs_f64());
            out.value(ASIDE.name, labels, waiting.aside as f64);
        }
        out.value(LEASED.name, labels, f64::from(u8::from(waiting.is_some())));
        out.histogram(TIMES.name, labels, &self.times.read());
        out.value(REFUSED.name, labels, self.refusals.load(Relaxed) as f64);
        out.value(FAILED.name, labels, self.failures.load(Relaxed) as f64);
    }
}

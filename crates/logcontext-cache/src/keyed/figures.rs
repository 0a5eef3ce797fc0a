//! What a queue counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use logcontext::source::{Collector, Figure, FigureKind, Histogram, Source};
use tokio::time::Instant;

use super::shared::{Keyed, QueueKey};

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) waits: Histogram,
    pub(super) gave_up: AtomicU64,
    pub(super) long_waits: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        Self { waits: Histogram::seconds(), gave_up: AtomicU64::new(0), long_waits: AtomicU64::new(0) }
    }
}

const WAIT: &str = "keyed_queue_wait_seconds";
const TURNS: &str = "keyed_queue_turns";
const GAVE_UP: &str = "keyed_queue_gave_up";
const LONG_WAITS: &str = "keyed_queue_long_waits";
const KEYS: &str = "keyed_queue_keys";
const HOLDING: &str = "keyed_queue_holding";
const WAITING: &str = "keyed_queue_waiting";
const LONGEST: &str = "keyed_queue_waiting_longest_seconds";

const fn figure(name: &'static str, kind: FigureKind, help: &'static str) -> Figure {
    Figure { name, help, kind }
}

const FIGURES: [Figure; 8] = [
    figure(WAIT, FigureKind::Histogram, "Time spent waiting for a key, of those who had to wait."),
    figure(TURNS, FigureKind::Counter, "How often a key was taken, at once or after a wait."),
    figure(GAVE_UP, FigureKind::Counter, "Waits that were cancelled before their turn came."),
    figure(LONG_WAITS, FigureKind::Counter, "Waits that were longer than the limit."),
    figure(KEYS, FigureKind::Gauge, "Keys that somebody holds."),
    figure(HOLDING, FigureKind::Gauge, "How many hold a key now."),
    figure(WAITING, FigureKind::Gauge, "How many wait for a key now."),
    figure(LONGEST, FigureKind::Gauge, "How long the one who waits longest has waited so far."),
];

/// The label with the queue's name.
pub(super) const NAME: &str = "name";
/// The label that tells a linearizer from a lock.
pub(super) const KIND: &str = "kind";

impl<K: QueueKey> Source for Keyed<K> {
    fn describe(&self) -> &[Figure] {
        &FIGURES
    }

    fn collect(&self, out: &mut dyn Collector) {
        let labels = [(KIND, self.kind), (NAME, &*self.name)];
        let (keys, holding, waiting, turns) = self.places.counts();
        let since = self.places.longest();
        let longest = since.map_or(0.0, |since| Instant::now().duration_since(since).as_secs_f64());
        out.histogram(WAIT, &labels, &self.figures.waits.read());
        for (name, value) in [
            (TURNS, turns as f64),
            (GAVE_UP, self.figures.gave_up.load(Relaxed) as f64),
            (LONG_WAITS, self.figures.long_waits.load(Relaxed) as f64),
            (KEYS, keys as f64),
            (HOLDING, holding as f64),
            (WAITING, waiting as f64),
            (LONGEST, longest),
        ] {
            out.value(name, &labels, value);
        }
    }
}

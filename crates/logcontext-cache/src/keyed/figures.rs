//! What a queue counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use logcontext::source::{Collector, Figure, Histogram, Source};
use tokio::time::Instant;

use super::shared::{Keyed, QueueKey};
use crate::figures::{counter, gauge, histogram};

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

const WAIT: Figure =
    histogram("keyed_queue_wait_seconds", "Time spent waiting for a key, of those who had to wait.");
const TURNS: Figure = counter("keyed_queue_turns", "How often a key was taken, at once or after a wait.");
const GAVE_UP: Figure = counter("keyed_queue_gave_up", "Waits that were cancelled before their turn came.");
const LONG_WAITS: Figure = counter("keyed_queue_long_waits", "Waits that were longer than the limit.");
const KEYS: Figure = gauge("keyed_queue_keys", "Keys that somebody holds.");
const HOLDING: Figure = gauge("keyed_queue_holding", "How many hold a key now.");
const WAITING: Figure = gauge("keyed_queue_waiting", "How many wait for a key now.");
const LONGEST: Figure =
    gauge("keyed_queue_waiting_longest_seconds", "How long the one who waits longest has waited so far.");

impl<K: QueueKey> Source for Keyed<K> {
    fn describe(&self) -> &[Figure] {
        &[WAIT, TURNS, GAVE_UP, LONG_WAITS, KEYS, HOLDING, WAITING, LONGEST]
    }

    fn collect(&self, out: &mut dyn Collector) {
        let labels = [("kind", self.kind), ("name", &*self.name)];
        let (keys, holding, waiting, turns) = self.places.counts();
        let since = self.places.longest();
        let longest = since.map_or(0.0, |since| Instant::now().duration_since(since).as_secs_f64());
        out.histogram(WAIT.name, &labels, &self.figures.waits.read());
        for (figure, value) in [
            (TURNS, turns as f64),
            (GAVE_UP, self.figures.gave_up.load(Relaxed) as f64),
            (LONG_WAITS, self.figures.long_waits.load(Relaxed) as f64),
            (KEYS, keys as f64),
            (HOLDING, holding as f64),
            (WAITING, waiting as f64),
            (LONGEST, longest),
        ] {
            out.value(figure.name, &labels, value);
        }
    }
}

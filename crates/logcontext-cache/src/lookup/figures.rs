//! What a cache counts.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use logcontext::Ending;
use logcontext::source::{Collector, Figure, Histogram, Source};

use super::inner::Inner;
use crate::count::Striped;
use crate::figures::{CAPACITY, EVICTIONS, HITS, LOOKUP_TIME, LOOKUPS, MISSES, OUTCOMES, SIZE, WAITS};

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) hits: Striped,
    misses: AtomicU64,
    waits: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
    invalidated: AtomicU64,
    started: AtomicU64,
    endings: [AtomicU64; 4],
    time: Histogram,
}

const ENDINGS: [Ending; 4] = [Ending::Ok, Ending::Failed, Ending::Panicked, Ending::Cancelled];

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            hits: Striped::default(),
            misses: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            invalidated: AtomicU64::new(0),
            started: AtomicU64::new(0),
            endings: [const { AtomicU64::new(0) }; 4],
            time: Histogram::seconds(),
        }
    }

    pub(super) fn missed(&self, keys: usize) {
        self.misses.fetch_add(keys as u64, Relaxed);
    }

    pub(super) fn waited(&self, keys: usize) {
        self.waits.fetch_add(keys as u64, Relaxed);
    }

    pub(super) fn evicted(&self, entries: usize) {
        self.evicted.fetch_add(entries as u64, Relaxed);
    }

    pub(super) fn expired(&self, entries: usize) {
        self.expired.fetch_add(entries as u64, Relaxed);
    }

    pub(super) fn invalidated(&self, entries: usize) {
        self.invalidated.fetch_add(entries as u64, Relaxed);
    }

    pub(super) fn started(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, ending: Ending, took: Duration) {
        self.endings[ending as usize].fetch_add(1, Relaxed);
        self.time.observe(took);
    }
}

impl<K, V, E> Source for Inner<K, V, E>
where
    K: Eq + Hash + Clone + Send + Sync,
    V: Send + Sync,
    E: Send + Sync,
{
    fn describe(&self) -> &[Figure] {
        &[HITS, MISSES, WAITS, SIZE, CAPACITY, EVICTIONS, LOOKUPS, OUTCOMES, LOOKUP_TIME]
    }

    fn collect(&self, out: &mut dyn Collector) {
        let figures = &self.figures;
        let cache = ("cache", &*self.name);
        let read = |count: &AtomicU64| count.load(Relaxed) as f64;
        out.value(HITS.name, &[cache], figures.hits.sum() as f64);
        out.value(MISSES.name, &[cache], read(&figures.misses));
        out.value(WAITS.name, &[cache], read(&figures.waits));
        out.value(SIZE.name, &[cache], self.store.len() as f64);
        out.value(CAPACITY.name, &[cache], self.capacity as f64);
        for (cause, count) in [
            ("capacity", &figures.evicted),
            ("expired", &figures.expired),
            ("invalidated", &figures.invalidated),
        ] {
            out.value(EVICTIONS.name, &[cache, ("cause", cause)], read(count));
        }
        // The endings first: what ends meanwhile was started before.
        let ended: Vec<_> = figures.endings.iter().map(read).collect();
        out.value(LOOKUPS.name, &[cache], read(&figures.started) - ended.iter().sum::<f64>());
        for (ending, count) in ENDINGS.into_iter().zip(ended) {
            out.value(OUTCOMES.name, &[cache, ("outcome", ending.name())], count);
        }
        out.histogram(LOOKUP_TIME.name, &[cache], &figures.time.read());
    }
}

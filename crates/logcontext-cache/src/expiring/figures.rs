//! What a cache counts.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use logcontext::source::{Collector, Figure, Source};

use super::listener::EvictionCause;
use super::shared::Shared;
use crate::count::Striped;
use crate::figures::{CAPACITY, EVICTIONS, HITS, MISSES, SIZE};

#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) hits: Striped,
    misses: AtomicU64,
    evictions: [AtomicU64; EvictionCause::ALL.len()],
}

impl Figures {
    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    pub(super) fn evicted(&self, cause: EvictionCause) {
        self.evictions[cause as usize].fetch_add(1, Relaxed);
    }
}

impl<K, V> Source for Shared<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn describe(&self) -> &[Figure] {
        &[HITS, MISSES, SIZE, CAPACITY, EVICTIONS]
    }

    fn collect(&self, out: &mut dyn Collector) {
        let cache = ("cache", &*self.name);
        out.value(HITS.name, &[cache], self.figures.hits.sum() as f64);
        out.value(MISSES.name, &[cache], self.figures.misses.load(Relaxed) as f64);
        out.value(SIZE.name, &[cache], self.store.len() as f64);
        out.value(CAPACITY.name, &[cache], self.capacity as f64);
        for (cause, count) in EvictionCause::ALL.into_iter().zip(&self.figures.evictions) {
            out.value(EVICTIONS.name, &[cache, ("cause", cause.name())], count.load(Relaxed) as f64);
        }
    }
}

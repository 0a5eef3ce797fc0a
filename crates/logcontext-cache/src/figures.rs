//! How figures are named, and the names of what caches count: both kinds of cache share them, told apart by the label
//! `cache`.

use logcontext::source::{Figure, FigureKind};

pub(crate) const HITS: Figure = counter("cache_hits", "Answers that were in the cache.");
pub(crate) const MISSES: Figure = counter("cache_misses", "Questions that the cache had no answer to.");
pub(crate) const WAITS: Figure =
    counter("cache_waits", "Callers who waited for a lookup that another had begun.");
pub(crate) const SIZE: Figure = gauge("cache_size", "Entries that are in the cache.");
pub(crate) const CAPACITY: Figure = gauge("cache_capacity", "Entries that the cache may hold.");
pub(crate) const EVICTIONS: Figure = counter("cache_evictions", "Entries that went, by cause.");
pub(crate) const LOOKUPS: Figure = gauge("cache_lookups_in_flight", "Lookups that run now.");
pub(crate) const OUTCOMES: Figure = counter("cache_lookups", "Lookups that ended, by outcome.");
pub(crate) const LOOKUP_TIME: Figure =
    histogram("cache_lookup_seconds", "Time that lookups took, from the question to the answer.");

pub(crate) const fn counter(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Counter }
}

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Gauge }
}

pub(crate) const fn histogram(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Histogram }
}

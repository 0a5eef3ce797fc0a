//! The names of what caches count. Both kinds of cache share them, told apart by the label `cache`.

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
pub(crate) const LOOKUP_TIME: Figure = Figure {
    name: "cache_lookup_seconds",
    help: "Time that lookups took, from the question to the answer.",
    kind: FigureKind::Histogram,
};

const fn counter(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Counter }
}

const fn gauge(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Gauge }
}

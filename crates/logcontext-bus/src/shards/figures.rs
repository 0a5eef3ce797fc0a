//! What is counted of shards.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use logcontext::source::{Collector, Figure, Source};

use crate::figures::{counter, gauge};

const HELD: Figure = gauge("bus_shards", "Shards that are held.");
const LOST: Figure = counter("bus_shard_leases_lost", "Shards that became others' while they were held.");

#[derive(Debug)]
pub(super) struct Figures {
    bus: Box<str>,
    name: Box<str>,
    pub(super) held: AtomicUsize,
    pub(super) lost: AtomicU64,
}

impl Figures {
    pub(super) fn new(bus: &str, name: &str) -> Self {
        Self { bus: bus.into(), name: name.into(), held: AtomicUsize::new(0), lost: AtomicU64::new(0) }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}

impl Source for Figures {
    fn describe(&self) -> &[Figure] {
        const { &[HELD, LOST] }
    }

    fn collect(&self, out: &mut dyn Collector) {
        let labels: &[(&'static str, &str)] = &[("bus", &self.bus), ("work", &self.name)];
        out.value(HELD.name, labels, self.held() as f64);
        out.value(LOST.name, labels, self.lost.load(Relaxed) as f64);
    }
}

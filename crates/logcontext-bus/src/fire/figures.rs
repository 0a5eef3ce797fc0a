//! What is counted of firing.

use std::sync::atomic::Ordering::Relaxed;

use logcontext::source::{Collector, Figure, Source};

use super::known::KnownEvents;
use crate::figures::{counter, histogram};

const TIMES: Figure =
    histogram("bus_fire_seconds", "Time from when an event was fired to when the broker had it.");
const FAILED: Figure = counter("bus_fire_failures", "Events that could not be fired, or nobody knows.");

impl Source for KnownEvents {
    fn describe(&self) -> &[Figure] {
        &[TIMES, FAILED]
    }

    fn collect(&self, out: &mut dyn Collector) {
        for event in self.all() {
            let labels = [("bus", &*self.bus), ("event", event.name)];
            out.histogram(TIMES.name, &labels, &event.times.read());
            out.value(FAILED.name, &labels, event.failed.load(Relaxed) as f64);
        }
    }
}

//! What a listener counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use logcontext::source::{Collector, Figure, Histogram, Source};

use crate::figures::{counter, gauge, histogram};

/// What one listener counts.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) bus: Box<str>,
    pub(super) event: &'static str,
    pub(super) listener: Box<str>,
    pub(super) delivered: AtomicU64,
    pub(super) ok: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) logged: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) aborted: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) bad: AtomicU64,
    pub(super) poison: AtomicU64,
    pub(super) claims_lost: AtomicU64,
    pub(super) running: AtomicU64,
    pub(super) held: AtomicU64,
    pub(super) partitions: AtomicU64,
    pub(super) leases_lost: AtomicU64,
    pub(super) times: Histogram,
}

const DELIVERED: Figure = counter("bus_events_delivered", "Events that have come to a listener.");
const HANDLED: Figure = counter("bus_events_handled", "Events that a listener is done with, by outcome.");
const RETRIES: Figure = counter("bus_event_retries", "Handlers that failed and were to be tried again.");
const CLAIMS_LOST: Figure =
    counter("bus_event_claims_lost", "Events that became others' while a listener had them.");
const LEASES_LOST: Figure =
    counter("bus_partition_leases_lost", "Partitions that became others' while a listener had them.");
const RUNNING: Figure = gauge("bus_event_handlers_running", "Handlers of events that run now.");
const HELD: Figure = gauge("bus_events_held", "Events that a listener has and that are not acknowledged.");
const PARTITIONS: Figure = gauge("bus_partitions", "Partitions that a listener has.");
const TIMES: Figure = histogram("bus_event_handler_seconds", "Time that handlers of events took, each try.");

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Figures {
    pub(super) fn new(bus: &str, event: &'static str, listener: &str) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            bus: bus.into(),
            event,
            listener: listener.into(),
            delivered: zero(),
            ok: zero(),
            ignored: zero(),
            logged: zero(),
            dead: zero(),
            left: zero(),
            aborted: zero(),
            retries: zero(),
            bad: zero(),
            poison: zero(),
            claims_lost: zero(),
            running: zero(),
            held: zero(),
            partitions: zero(),
            leases_lost: zero(),
            times: Histogram::seconds(),
        }
    }
}

impl Source for Figures {
    fn describe(&self) -> &[Figure] {
        &[DELIVERED, HANDLED, RETRIES, CLAIMS_LOST, LEASES_LOST, RUNNING, HELD, PARTITIONS, TIMES]
    }

    fn collect(&self, out: &mut dyn Collector) {
        let labels = [("bus", &*self.bus), ("event", self.event), ("listener", &*self.listener)];
        let outcomes = [
            ("ok", &self.ok),
            ("ignored", &self.ignored),
            ("logged", &self.logged),
            ("dead_letter", &self.dead),
            ("bad_message", &self.bad),
            ("poison", &self.poison),
            ("left", &self.left),
            ("aborted", &self.aborted),
        ];
        for (outcome, value) in outcomes {
            let labels = [labels[0], labels[1], labels[2], ("outcome", outcome)];
            out.value(HANDLED.name, &labels, value.load(Relaxed) as f64);
        }
        let values = [
            (DELIVERED, &self.delivered),
            (RETRIES, &self.retries),
            (CLAIMS_LOST, &self.claims_lost),
            (LEASES_LOST, &self.leases_lost),
            (RUNNING, &self.running),
            (HELD, &self.held),
            (PARTITIONS, &self.partitions),
        ];
        for (figure, value) in values {
            out.value(figure.name, &labels, value.load(Relaxed) as f64);
        }
        out.histogram(TIMES.name, &labels, &self.times.read());
    }
}

//! What is counted of serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use logcontext::source::{Collector, Figure, Histogram, Source};
use tokio::sync::Semaphore;

use crate::figures::{counter, gauge, histogram};
use crate::handlers::Handlers;
use crate::message::Verdict;

const TIMES: Figure = histogram("bus_serve_seconds", "Time from when a call had come to its answer.");
const SERVED: Figure = counter("bus_served", "Calls that have come, by what became of them.");
const HANDLERS: Figure = gauge("bus_handlers", "Handlers that run now.");
const SLOTS: Figure = gauge("bus_slots", "Handlers that may run at once of calls that no handler waits for.");
const TAKEN: Figure =
    gauge("bus_slots_taken", "Slots that are taken. Where all are, calls wait for one at the broker.");

/// What becomes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// It was answered with this.
    Answered(Verdict),
    /// It came too late, and was not begun.
    Late,
    /// Its caller was gone before there was an answer.
    Cancelled,
    /// There was nobody to hear the answer.
    Unheard,
}

const NAMES: [&str; 12] = [
    "ok",
    "error",
    "panicked",
    "bad_request",
    "too_deep",
    "overloaded",
    "bad_response",
    "abandoned",
    "expired",
    "late",
    "cancelled",
    "unheard",
];

impl Became {
    fn index(self) -> usize {
        match self {
            Self::Answered(Verdict::Ok) => 0,
            Self::Answered(Verdict::Error) => 1,
            Self::Answered(Verdict::Panicked) => 2,
            Self::Answered(Verdict::BadRequest) => 3,
            Self::Answered(Verdict::TooDeep) => 4,
            Self::Answered(Verdict::Overloaded) => 5,
            Self::Answered(Verdict::BadResponse) => 6,
            Self::Answered(Verdict::Abandoned) => 7,
            Self::Answered(Verdict::Expired) => 8,
            Self::Late => 9,
            Self::Cancelled => 10,
            Self::Unheard => 11,
        }
    }
}

/// The figures of one RPC that is served.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) bus: Box<str>,
    pub(super) rpc: &'static str,
    pub(super) handlers: Handlers,
    pub(super) slots: Arc<Semaphore>,
    pub(super) slot_count: usize,
    pub(super) times: Histogram,
    pub(super) became: [AtomicU64; NAMES.len()],
}

impl Figures {
    pub(super) fn new(bus: &str, rpc: &'static str, slot_count: usize) -> Self {
        Self {
            bus: bus.into(),
            rpc,
            handlers: Handlers::default(),
            slots: Arc::new(Semaphore::new(slot_count)),
            slot_count,
            times: Histogram::seconds(),
            became: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(super) fn count(&self, became: Became, time: Option<Duration>) {
        self.became[became.index()].fetch_add(1, Relaxed);
        if let Some(time) = time {
            self.times.observe(time);
        }
    }
}

impl Source for Figures {
    fn describe(&self) -> &[Figure] {
        &[TIMES, SERVED, HANDLERS, SLOTS, TAKEN]
    }

    fn collect(&self, out: &mut dyn Collector) {
        let labels = [("bus", &*self.bus), ("rpc", self.rpc)];
        out.histogram(TIMES.name, &labels, &self.times.read());
        for (name, count) in NAMES.iter().zip(&self.became) {
            let labels = [labels[0], labels[1], ("became", name)];
            out.value(SERVED.name, &labels, count.load(Relaxed) as f64);
        }
        out.value(HANDLERS.name, &labels, self.handlers.count() as f64);
        out.value(SLOTS.name, &labels, self.slot_count as f64);
        let taken = self.slot_count.saturating_sub(self.slots.available_permits());
        out.value(TAKEN.name, &labels, taken as f64);
    }
}

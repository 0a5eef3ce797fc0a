//! What the demo's clients count while they run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// How many odd answers are told in full.
const TOLD: u64 = 5;

/// The counts of all clients.
#[derive(Debug, Default)]
pub(super) struct Tally {
    over: AtomicBool,
    sent: AtomicU64,
    answered: AtomicU64,
    server_errors: AtomicU64,
    left: AtomicU64,
    odd: AtomicU64,
    told: Mutex<Vec<String>>,
    latencies: Mutex<HashMap<&'static str, Histogram<u64>>>,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) server_errors: u64,
    pub(super) left: u64,
    pub(super) odd: u64,
}

impl Counts {
    pub(super) fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.answered + self.left + self.odd)
    }
}

impl Tally {
    /// Tells the clients to come to an end.
    pub(super) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn left(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// An answer as expected.
    pub(super) fn answered(&self, label: &'static str, status: u16, latency: Duration) {
        self.answered.fetch_add(1, Relaxed);
        self.server_errors.fetch_add(u64::from(status >= 500), Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.entry(label).or_insert_with(histogram).saturating_record(micros);
    }

    /// An answer that nobody expected, or none.
    pub(super) fn odd(&self, what: String) {
        if self.odd.fetch_add(1, Relaxed) < TOLD {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            answered: self.answered.load(Relaxed),
            server_errors: self.server_errors.load(Relaxed),
            left: self.left.load(Relaxed),
            odd: self.odd.load(Relaxed),
            // Last, so that nothing is answered that was not sent.
            sent: self.sent.load(Relaxed),
        }
    }

    /// The odd answers, the first of them in full.
    pub(super) fn oddities(&self) -> Vec<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let odd = self.odd.load(Relaxed);
        if odd > TOLD {
            told.push(format!("{} more answers that nobody expected", odd - TOLD));
        }
        told
    }

    /// The latency that this share of the answers stayed within.
    pub(super) fn latency(&self, label: &str, quantile: f64) -> Option<Duration> {
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.get(label).map(|seen| Duration::from_micros(seen.value_at_quantile(quantile)))
    }
}

/// A microsecond to a minute, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("these bounds are good")
}

//! What a context's calls have cost elsewhere, beside its account: made when there is something to write down, as most
//! contexts call nobody.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::remote::{RemoteUsage, Told};

/// Times that are shared where a context's are: CPU, in transactions, waiting for a connection.
pub(super) const TIMES: usize = 3;

/// A cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Elsewhere {
    calls: AtomicU64,
    unknown: AtomicU64,
    db_txn_count: AtomicU64,
    cpu_told: AtomicU64,
    db_wait_told: AtomicU64,
    /// CPU, in transactions, waiting for a connection.
    nanos: [AtomicU64; TIMES],
}

impl Elsewhere {
    pub(super) fn record(&self, usage: &RemoteUsage) {
        let RemoteUsage { calls, unknown, db_txn_count, db_txn_duration, cpu, db_wait } = *usage;
        let counts = [calls, unknown, db_txn_count, cpu.times, db_wait.times];
        for (sum, n) in self.counts().into_iter().zip(counts) {
            add(sum, n);
        }
        self.add_times(&[cpu.sum, db_txn_duration, db_wait.sum].map(super::nanos));
    }

    pub(super) fn usage(&self) -> RemoteUsage {
        let [cpu, txn, wait] = self.nanos.each_ref().map(|time| Duration::from_nanos(time.load(Relaxed)));
        let [calls, unknown, db_txn_count, cpu_told, wait_told] =
            self.counts().map(|count| count.load(Relaxed));
        RemoteUsage {
            calls,
            unknown,
            db_txn_count,
            db_txn_duration: txn,
            cpu: Told { times: cpu_told, sum: cpu },
            db_wait: Told { times: wait_told, sum: wait },
        }
    }

    /// Takes the times off; counts stay.
    pub(super) fn take_times(&self) -> [u64; TIMES] {
        self.nanos.each_ref().map(|time| time.swap(0, Relaxed))
    }

    pub(super) fn add_times(&self, nanos: &[u64; TIMES]) {
        for (sum, time) in self.nanos.iter().zip(nanos) {
            add(sum, *time);
        }
    }

    pub(super) fn clear(&self) {
        self.counts().into_iter().chain(&self.nanos).for_each(|figure| figure.store(0, Relaxed));
    }

    fn counts(&self) -> [&AtomicU64; 5] {
        [&self.calls, &self.unknown, &self.db_txn_count, &self.cpu_told, &self.db_wait_told]
    }
}

/// What comes from outside must not make a sum begin anew.
fn add(sum: &AtomicU64, n: u64) {
    if n > 0 {
        let _ = sum.fetch_update(Relaxed, Relaxed, |sum| Some(sum.saturating_add(n)));
    }
}

//! The sums of contexts that are gone.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::account::{Account, CLASSES};
use super::elsewhere::{self, Elsewhere};
use super::moves::Times;
use crate::kind::{ContextKind, Ending};
use crate::labels::Labels;
use crate::remote::RemoteUsage;
use crate::source::{self, BUCKETS};
use crate::usage::{COUNTERS, ResourceUsage};

/// The sums of the contexts of one label that are gone. Plain numbers: adding to them is part of each context's
/// end.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) endings: [u64; Ending::COUNT],
    pub(super) responses: [u64; CLASSES],
    /// Times from start to finish, by how long they were.
    pub(super) durations: [u64; BUCKETS],
    pub(super) cpu: u64,
    pub(super) system: u64,
    pub(super) db_txn_count: u64,
    pub(super) db_txn_nanos: u64,
    pub(super) db_wait_nanos: u64,
    pub(super) db_acquire_nanos: u64,
    pub(super) after_finish: u64,
    pub(super) elapsed: u64,
    /// What their calls have cost elsewhere.
    remote: Option<Box<RemoteUsage>>,
    counters: Option<Box<[u64; COUNTERS]>>,
}

impl Totals {
    /// Adds an account; answers whether it has finished.
    pub(super) fn add(&mut self, account: &Account) -> bool {
        let end = account.end();
        let cpu = account.cpu();
        self.cpu += cpu;
        self.system += account.system.load(Relaxed);
        self.db_txn_count += account.db_txn_count.load(Relaxed);
        self.db_txn_nanos += account.db_txn_nanos.load(Relaxed);
        self.db_wait_nanos += account.db_wait_nanos.load(Relaxed);
        self.db_acquire_nanos += account.db_acquire_nanos.load(Relaxed);
        if let Some(remote) = account.elsewhere().map(Elsewhere::usage) {
            **self.remote.get_or_insert_default() += remote;
        }
        if let Some(counters) = account.counters.get() {
            let sums = self.counters.get_or_insert_with(|| Box::new([0; COUNTERS]));
            for (sum, counter) in sums.iter_mut().zip(counters.iter()) {
                *sum += counter.load(Relaxed);
            }
        }
        let Some((ending, class)) = end else { return false };
        let elapsed = account.elapsed_nanos();
        self.endings[ending as usize] += 1;
        self.elapsed += elapsed;
        self.durations[source::bucket(elapsed)] += 1;
        self.after_finish += account.cpu_since(cpu);
        if let Some(class) = class.and_then(|class| self.responses.get_mut(class)) {
            *class += 1;
        }
        true
    }

    pub(super) fn merge(&mut self, other: &Self) {
        fn add<const N: usize>(sums: &mut [u64; N], others: &[u64; N]) {
            sums.iter_mut().zip(others).for_each(|(sum, n)| *sum += n);
        }
        add(&mut self.endings, &other.endings);
        add(&mut self.responses, &other.responses);
        add(&mut self.durations, &other.durations);
        self.cpu += other.cpu;
        self.system += other.system;
        self.db_txn_count += other.db_txn_count;
        self.db_txn_nanos += other.db_txn_nanos;
        self.db_wait_nanos += other.db_wait_nanos;
        self.db_acquire_nanos += other.db_acquire_nanos;
        self.after_finish += other.after_finish;
        self.elapsed += other.elapsed;
        if let Some(remote) = &other.remote {
            **self.remote.get_or_insert_default() += **remote;
        }
        if let Some(counters) = &other.counters {
            add(self.counters.get_or_insert_with(|| Box::new([0; COUNTERS])), counters);
        }
    }

    /// Adds and takes times that moved.
    pub(super) fn adjust(&mut self, given: &Times, taken: &Times) {
        let times = [
            &mut self.cpu,
            &mut self.system,
            &mut self.db_txn_nanos,
            &mut self.db_wait_nanos,
            &mut self.db_acquire_nanos,
        ];
        for ((sum, given), taken) in times.into_iter().zip(given.own).zip(taken.own) {
            // What is taken may have been charged after the walk was there: then it is not in the sum.
            *sum = (*sum + given).saturating_sub(taken);
        }
        if (given.remote, taken.remote) != ([0; elsewhere::TIMES], [0; elsewhere::TIMES]) {
            self.remote.get_or_insert_default().adjust(given.remote, taken.remote);
        }
    }

    pub(super) fn usage(&self) -> ResourceUsage {
        ResourceUsage {
            cpu_nanos: self.cpu,
            system_nanos: self.system,
            db_txn_count: self.db_txn_count,
            db_txn_duration: Duration::from_nanos(self.db_txn_nanos),
            db_wait: Duration::from_nanos(self.db_wait_nanos),
            db_acquire: Duration::from_nanos(self.db_acquire_nanos),
            remote: self.remote.as_deref().copied().unwrap_or_default(),
            counters: self.counters.as_ref().map_or([0; COUNTERS], |counters| **counters),
        }
    }
}

/// One for each label, made when it is first needed. Boxed, so that a row that nobody uses takes a word, and so that
/// making room moves little.
#[derive(Debug)]
pub(super) struct Rows<T>(Vec<Option<Box<T>>>);

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Rows<T> {
    #[inline]
    pub(super) fn at(&mut self, row: usize) -> &mut T {
        if self.0.len() <= row {
            self.0.resize_with(row + 1, || None);
        }
        self.0[row].get_or_insert_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that there are among so many.
    pub(super) fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = (usize, &T)> {
        let first = range.start;
        self.0[range].iter().zip(first..).filter_map(|(row, at)| Some((at, &**row.as_ref()?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.range(0..self.len())
    }
}

/// The row of an account's totals: one per kind for what has no label, then one per label. Nested contexts have
/// none, their root's has all they cost.
pub(super) fn row(account: &Account) -> Option<usize> {
    let kind = account.kind();
    if kind == ContextKind::Nested {
        return None;
    }
    Some(account.label().map_or(kind as usize, |index| ContextKind::COUNT + index))
}

/// Is it a row of root contexts? The others' costs are in their roots' rows as well.
pub(super) fn is_of_roots(row: usize, labels: &Labels) -> bool {
    let kind = match row.checked_sub(ContextKind::COUNT) {
        None => Some(ContextKind::ALL[row]),
        Some(index) => labels.get(index).map(|label| label.kind),
    };
    !kind.is_some_and(ContextKind::is_nested)
}

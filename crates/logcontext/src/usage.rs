//! What a context cost: [`ResourceUsage`], and the [`Counter`]s that services add to it.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::remote::RemoteUsage;

/// How many different counters a process can have.
pub(crate) const COUNTERS: usize = 32;

/// What a context, or a label, or a process has cost so far.
///
/// Times are exact unless said otherwise. What the platform cannot measure is absent: [`cpu`] is `None` where
/// there is no CPU clock for threads, never zero. Synapse's `ContextResourceUsage` has the same fields.
///
/// ```
/// use logcontext::{LogContext, ResourceUsage};
/// use std::time::Duration;
///
/// let ctx = LogContext::new("import");
/// ctx.record_db_transaction(Duration::from_millis(3));
/// ctx.record_db_wait(Duration::from_millis(1));
/// let usage: ResourceUsage = ctx.usage();
/// assert_eq!(usage.db_txn_count, 1);
/// assert_eq!(usage.db_txn_duration, Duration::from_millis(3));
/// assert_eq!(usage.db_wait(), Some(Duration::from_millis(1)));
/// ```
///
/// [`cpu`]: Self::cpu
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[doc(alias = "ContextResourceUsage")]
pub struct ResourceUsage {
    pub(crate) cpu_nanos: u64,
    pub(crate) system_nanos: u64,
    /// How many database transactions were made, each counted once however often it was tried.
    #[doc(alias = "evt_db_txn_count")]
    pub db_txn_count: u64,
    /// Time spent in database transactions.
    pub db_txn_duration: Duration,
    pub(crate) db_wait: Duration,
    /// Time spent getting connections from pools that cannot tell waiting from connecting: zero where all pools
    /// can. See [`db_wait`](Self::db_wait).
    pub db_acquire: Duration,
    pub(crate) remote: RemoteUsage,
    pub(crate) counters: [u64; COUNTERS],
}

impl ResourceUsage {
    /// CPU time, user and system together; `None` on platforms without a CPU clock for threads.
    pub fn cpu(&self) -> Option<Duration> {
        crate::meter::cpu_is_measured().then(|| Duration::from_nanos(self.cpu_nanos))
    }

    /// CPU time in user mode. The sum with [`cpu_system`](Self::cpu_system) is exact; the split is an estimate
    /// from the kernel's own, which moves at scheduler ticks, and tasks that share a thread share its ratio.
    #[doc(alias = "ru_utime")]
    pub fn cpu_user(&self) -> Option<Duration> {
        self.cpu().map(|cpu| cpu.saturating_sub(Duration::from_nanos(self.system_nanos)))
    }

    /// CPU time in the kernel: an estimate, see [`cpu_user`](Self::cpu_user).
    #[doc(alias = "ru_stime")]
    pub fn cpu_system(&self) -> Option<Duration> {
        self.cpu().map(|_| Duration::from_nanos(self.system_nanos.min(self.cpu_nanos)))
    }

    /// Time spent waiting for a database connection: in the queue alone, apart from connecting and from the time in
    /// transactions. `None` where some of it is only known as [`db_acquire`](Self::db_acquire).
    #[doc(alias = "db_sched_duration_sec")]
    pub fn db_wait(&self) -> Option<Duration> {
        self.db_acquire.is_zero().then_some(self.db_wait)
    }

    /// What its work caused elsewhere, by calls to others: apart from all the other figures, which are its own.
    pub fn remote(&self) -> RemoteUsage {
        self.remote
    }

    /// What was added to a counter.
    pub fn counter(&self, counter: &Counter) -> u64 {
        self.counters[counter.index()]
    }

    /// The counters that are not zero, by name, in the order in which the process first used them.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        counter_names()
            .into_iter()
            .enumerate()
            .map(|(i, name)| (name, self.counters[i]))
            .filter(|(_, n)| *n > 0)
    }

    fn zip(
        self,
        other: Self,
        f: fn(u64, u64) -> u64,
        g: fn(Duration, Duration) -> Duration,
        h: fn(RemoteUsage, RemoteUsage) -> RemoteUsage,
    ) -> Self {
        Self {
            cpu_nanos: f(self.cpu_nanos, other.cpu_nanos),
            system_nanos: f(self.system_nanos, other.system_nanos),
            db_txn_count: f(self.db_txn_count, other.db_txn_count),
            db_txn_duration: g(self.db_txn_duration, other.db_txn_duration),
            db_wait: g(self.db_wait, other.db_wait),
            db_acquire: g(self.db_acquire, other.db_acquire),
            remote: h(self.remote, other.remote),
            counters: std::array::from_fn(|i| f(self.counters[i], other.counters[i])),
        }
    }
}

impl Add for ResourceUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add, Duration::saturating_add, Add::add)
    }
}

impl AddAssign for ResourceUsage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What came on top between an earlier reading and a later one; a field that is smaller counts as zero.
impl Sub for ResourceUsage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub, Duration::saturating_sub, Sub::sub)
    }
}

impl fmt::Debug for ResourceUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ResourceUsage");
        out.field("cpu", &self.cpu()).field("cpu_system", &self.cpu_system());
        out.field("db_txn_count", &self.db_txn_count).field("db_txn_duration", &self.db_txn_duration);
        out.field("db_wait", &self.db_wait());
        if !self.db_acquire.is_zero() {
            out.field("db_acquire", &self.db_acquire);
        }
        for (name, n) in self.counters() {
            out.field(name, &n);
        }
        if !self.remote.is_empty() {
            out.field("remote", &self.remote);
        }
        out.finish()
    }
}

/// Something a service counts per context, beside the fixed fields of [`ResourceUsage`]: rows fetched, cache
/// misses, messages sent. Declare it once, add to it anywhere; adding neither hashes nor locks.
///
/// A process can have 32 counters; what the 33rd and later ones count goes to one named `other`.
///
/// ```
/// use logcontext::{Counter, LogContext};
///
/// static ROWS: Counter = Counter::new("rows_fetched");
///
/// let ctx = LogContext::new("import");
/// let lookup = ctx.nested("lookup");
/// lookup.add(&ROWS, 20);
/// assert_eq!(ctx.usage().counter(&ROWS), 20); // what a nested context counts, its parents count too
/// ```
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    index: OnceLock<usize>,
}

/// Events fetched from the database: the counter that Synapse's access line ends with.
#[doc(alias = "evt_db_fetch_count")]
pub static EVT_DB_FETCH_COUNT: Counter = Counter::new("evt_db_fetch_count");

impl Counter {
    /// A counter with this name: lower-case letters, digits and `_`, so that every exporter can show it.
    /// Two counters of the same name are one.
    ///
    /// # Panics
    /// If the name is empty or has other characters: at compile time for a `static`.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "a counter needs a name");
        let mut i = 0;
        while i < bytes.len() {
            assert!(
                matches!(bytes[i], b'a'..=b'z' | b'0'..=b'9' | b'_'),
                "a counter's name has lower-case letters, digits and _ only"
            );
            i += 1;
        }
        Self { name, index: OnceLock::new() }
    }

    /// The name it was made with.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn index(&self) -> usize {
        *self.index.get_or_init(|| register(self.name))
    }
}

static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

pub(crate) fn counter_names() -> Vec<&'static str> {
    crate::sync::lock(&NAMES).clone()
}

fn register(name: &'static str) -> usize {
    let mut names = crate::sync::lock(&NAMES);
    if let Some(index) = names.iter().position(|known| *known == name) {
        return index;
    }
    if names.len() == COUNTERS - 1 {
        names.push("other");
    }
    if names.len() == COUNTERS {
        return COUNTERS - 1;
    }
    names.push(name);
    names.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_one_name_are_one_and_those_past_the_limit_are_counted_as_other() {
        static A: Counter = Counter::new("twice");
        static B: Counter = Counter::new("twice");
        assert_eq!(A.index(), B.index());
        let names: Vec<&'static str> = (0..40).map(|i| &*format!("many_{i}").leak()).collect();
        let last = names.iter().map(|name| Counter::new(name).index()).max().unwrap();
        assert_eq!(last, COUNTERS - 1);
        assert_eq!(counter_names()[last], "other");
        assert_eq!(counter_names().len(), COUNTERS);
    }

    #[test]
    fn a_difference_never_goes_below_zero() {
        let small = ResourceUsage { cpu_nanos: 5, db_txn_count: 1, ..Default::default() };
        let large = ResourceUsage { cpu_nanos: 9, db_txn_count: 4, ..Default::default() };
        assert_eq!((large - small).db_txn_count, 3);
        assert_eq!((small - large).cpu_nanos, 0);
        assert_eq!(small + (large - small), large);
    }
}

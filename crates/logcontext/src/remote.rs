//! What a context's work caused elsewhere: [`RemoteUsage`].

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use crate::usage::ResourceUsage;

/// What the calls of a context have cost elsewhere, as far as their answers have told: the callees' own costs, and what
/// they caused elsewhere in turn, so the sum over all that is below.
///
/// It is apart from what the context has cost here: no part of it is in [`ResourceUsage::cpu`], in the database's figures
/// or in the [books](crate::books), which say what *this* process has done. What nobody has told is absent: a call
/// without an answer, or whose answer did not say, is [`unknown`](Self::unknown), not one that cost nothing.
///
/// ```
/// use logcontext::{LogContext, RemoteUsage};
/// use std::time::Duration;
///
/// let request = LogContext::new("GET-17");
/// request.nested("call").record_remote(&RemoteUsage::call().with_cpu(Duration::from_millis(3)));
/// request.record_remote(&RemoteUsage::unknown());
/// let remote = request.usage().remote();
/// assert_eq!((remote.calls, remote.unknown), (1, 1));
/// assert_eq!(remote.cpu(), Some(Duration::from_millis(3)));
/// assert_eq!(remote.db_wait(), None); // nobody has told
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoteUsage {
    /// Calls whose cost came home.
    pub calls: u64,
    /// Calls whose cost is not known: there was no answer, or it did not say.
    pub unknown: u64,
    /// Database transactions.
    pub db_txn_count: u64,
    /// Time in database transactions.
    pub db_txn_duration: Duration,
    pub(crate) cpu: Told,
    pub(crate) db_wait: Told,
}

/// A time, and how many have told of it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) times: u64,
    pub(crate) sum: Duration,
}

impl Told {
    fn once(sum: Duration) -> Self {
        Self { times: 1, sum }
    }

    /// Where costs are shared, the time goes to those who pay, and who has told it is not known there.
    fn get(self) -> Option<Duration> {
        (self.times > 0 || !self.sum.is_zero()).then_some(self.sum)
    }
}

impl RemoteUsage {
    /// The longest time that a single call is believed to have cost, CPU or any other: an hour. Callers wait for some
    /// seconds, and what is below a call may work on many processors meanwhile, but not on a thousand: what says more is
    /// wrong, and would hide all other figures.
    pub const MAX_TIME: Duration = Duration::from_secs(3_600);

    /// Most transactions, and most calls, that a single call is believed to have caused: a million.
    pub const MAX_COUNT: u64 = 1_000_000;

    /// A call whose cost is known: nothing so far.
    pub const fn call() -> Self {
        let none = Told { times: 0, sum: Duration::ZERO };
        Self {
            calls: 1,
            unknown: 0,
            db_txn_count: 0,
            db_txn_duration: Duration::ZERO,
            cpu: none,
            db_wait: none,
        }
    }

    /// A call whose cost is not known.
    pub const fn unknown() -> Self {
        Self { calls: 0, unknown: 1, ..Self::call() }
    }

    /// A call that has cost that where it was handled, with all that it caused elsewhere in turn.
    ///
    /// ```
    /// use logcontext::{LogContext, RemoteUsage};
    /// use std::time::Duration;
    ///
    /// let handler = LogContext::new("presence.get-812");
    /// handler.record_db_transaction(Duration::from_millis(2));
    /// handler.record_remote(&RemoteUsage::unknown());
    /// let cost = RemoteUsage::of(&handler.usage());
    /// assert_eq!((cost.calls, cost.unknown), (1, 1));
    /// assert_eq!(cost.db_txn_duration, Duration::from_millis(2));
    /// ```
    pub fn of(usage: &ResourceUsage) -> Self {
        let mut cost = Self::call();
        cost.db_txn_count = usage.db_txn_count;
        cost.db_txn_duration = usage.db_txn_duration;
        cost.cpu = usage.cpu().map(Told::once).unwrap_or_default();
        cost.db_wait = usage.db_wait().map(Told::once).unwrap_or_default();
        cost + usage.remote()
    }

    /// With so much more CPU time.
    #[must_use]
    pub fn with_cpu(mut self, cpu: Duration) -> Self {
        self.cpu = self.cpu + Told::once(cpu);
        self
    }

    /// With so many more database transactions, that took so long all together.
    #[must_use]
    pub fn with_db_txns(mut self, count: u64, duration: Duration) -> Self {
        self.db_txn_count = self.db_txn_count.saturating_add(count);
        self.db_txn_duration = self.db_txn_duration.saturating_add(duration);
        self
    }

    /// With so much more time spent waiting for database connections.
    #[must_use]
    pub fn with_db_wait(mut self, wait: Duration) -> Self {
        self.db_wait = self.db_wait + Told::once(wait);
        self
    }

    /// CPU time; `None` where no answer has told it.
    pub fn cpu(&self) -> Option<Duration> {
        self.cpu.get()
    }

    /// Time spent waiting for database connections; `None` where no answer has told it.
    pub fn db_wait(&self) -> Option<Duration> {
        self.db_wait.get()
    }

    /// Was nothing called?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a single call says it has cost, if that can be believed: up to [`MAX_TIME`](Self::MAX_TIME) and
    /// [`MAX_COUNT`](Self::MAX_COUNT) of each. More than that is not cut down, which would make the most of a lie: it
    /// is [`unknown`](Self::unknown). For what comes from outside.
    ///
    /// ```
    /// use logcontext::RemoteUsage;
    /// use std::time::Duration;
    ///
    /// let says = |seconds| RemoteUsage::call().with_cpu(Duration::from_secs(seconds)).or_unknown();
    /// assert_eq!(says(3_600).cpu(), Some(Duration::from_secs(3_600)));
    /// assert_eq!(says(3_601), RemoteUsage::unknown());
    /// ```
    #[must_use]
    pub fn or_unknown(self) -> Self {
        let times = [self.db_txn_duration, self.cpu.sum, self.db_wait.sum];
        let counts = [self.calls, self.unknown, self.db_txn_count];
        let is_believed = times.iter().all(|time| *time <= Self::MAX_TIME)
            && counts.iter().all(|count| *count <= Self::MAX_COUNT);
        if is_believed { self } else { Self::unknown() }
    }

    /// Adds and takes times that moved: CPU, in transactions, waiting for a connection.
    pub(crate) fn adjust(&mut self, given: [u64; 3], taken: [u64; 3]) {
        let times = [&mut self.cpu.sum, &mut self.db_txn_duration, &mut self.db_wait.sum];
        for ((sum, given), taken) in times.into_iter().zip(given).zip(taken) {
            let given = Duration::from_nanos(given);
            *sum = sum.saturating_add(given).saturating_sub(Duration::from_nanos(taken));
        }
    }

    fn zip(self, other: Self, f: fn(u64, u64) -> u64, g: fn(Duration, Duration) -> Duration) -> Self {
        let told = |a: Told, b: Told| Told { times: f(a.times, b.times), sum: g(a.sum, b.sum) };
        Self {
            calls: f(self.calls, other.calls),
            unknown: f(self.unknown, other.unknown),
            db_txn_count: f(self.db_txn_count, other.db_txn_count),
            db_txn_duration: g(self.db_txn_duration, other.db_txn_duration),
            cpu: told(self.cpu, other.cpu),
            db_wait: told(self.db_wait, other.db_wait),
        }
    }
}

impl Add for Told {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { times: self.times.saturating_add(other.times), sum: self.sum.saturating_add(other.sum) }
    }
}

/// No sum overflows: it stays at the most there can be.
impl Add for RemoteUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add, Duration::saturating_add)
    }
}

impl AddAssign for RemoteUsage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What came on top between an earlier reading and a later one; a field that is smaller counts as zero.
impl Sub for RemoteUsage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub, Duration::saturating_sub)
    }
}

impl fmt::Debug for RemoteUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteUsage")
            .field("calls", &self.calls)
            .field("unknown", &self.unknown)
            .field("cpu", &self.cpu())
            .field("db_txn_count", &self.db_txn_count)
            .field("db_txn_duration", &self.db_txn_duration)
            .field("db_wait", &self.db_wait())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = RemoteUsage::MAX_TIME;

    #[test]
    fn what_cannot_be_is_unknown_and_what_just_can_is_believed() {
        let more = HOUR + Duration::from_nanos(1);
        let call = RemoteUsage::call;
        let most = RemoteUsage {
            calls: RemoteUsage::MAX_COUNT,
            db_txn_duration: HOUR,
            ..call().with_cpu(HOUR).with_db_wait(HOUR)
        };
        assert_eq!(most.or_unknown(), most);
        for lie in [
            call().with_cpu(more),
            call().with_cpu(Duration::MAX),
            call().with_db_wait(more),
            RemoteUsage { db_txn_duration: more, ..call() },
            RemoteUsage { db_txn_count: RemoteUsage::MAX_COUNT + 1, ..call() },
            RemoteUsage { calls: u64::MAX, ..call() },
            RemoteUsage { unknown: RemoteUsage::MAX_COUNT + 1, ..call() },
        ] {
            assert_eq!(lie.or_unknown(), RemoteUsage::unknown(), "{lie:?}");
        }
    }

    #[test]
    fn a_time_that_nobody_has_told_is_absent_and_one_that_was_told_to_be_nothing_is_there() {
        assert_eq!((RemoteUsage::call().cpu(), RemoteUsage::unknown().db_wait()), (None, None));
        let told = RemoteUsage::unknown() + RemoteUsage::call().with_cpu(Duration::ZERO);
        assert_eq!((told.cpu(), told.db_wait()), (Some(Duration::ZERO), None));
        let later = told + RemoteUsage::call().with_db_wait(HOUR);
        assert_eq!((later - told).cpu(), None);
        assert_eq!((later - told).db_wait(), Some(HOUR));
        assert_eq!(told - later, RemoteUsage::default());
    }

    #[test]
    fn sums_stay_at_the_most_there_can_be() {
        let most = RemoteUsage { calls: u64::MAX, ..RemoteUsage::call().with_cpu(Duration::MAX) };
        let sum = most + most;
        assert_eq!((sum.calls, sum.cpu()), (u64::MAX, Some(Duration::MAX)));
    }
}

//! The figures of one label, and how they are kept from going down.

use std::time::Duration;

use logcontext::source::Buckets;
use logcontext::{Ending, LabelTotals, RemoteUsage};

use crate::encode::Spread;

pub(super) const ENDINGS: [Ending; 4] = [Ending::Ok, Ending::Failed, Ending::Panicked, Ending::Cancelled];

/// Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(super) started: u64,
    /// The only one that goes down.
    pub(super) in_flight: u64,
    pub(super) endings: [u64; ENDINGS.len()],
    pub(super) responses: Vec<(&'static str, u64)>,
    pub(super) durations: Spread,
    /// Absent where threads have no CPU clock.
    pub(super) cpu: Option<Cpu>,
    pub(super) transactions: u64,
    pub(super) transaction_time: u64,
    pub(super) wait: Wait,
    pub(super) acquire: u64,
    /// Absent where nothing was called.
    pub(super) remote: Option<Remote>,
    pub(super) counters: Vec<(&'static str, u64)>,
}

/// CPU time of all slices, those included that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    pub(super) total: u64,
    pub(super) system: u64,
    pub(super) after_finish: u64,
}

/// What calls have cost elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Remote {
    pub(super) calls: u64,
    pub(super) unknown: u64,
    /// Absent where no answer has told it.
    pub(super) cpu: Option<u64>,
    pub(super) transactions: u64,
    pub(super) transaction_time: u64,
    pub(super) wait: Option<u64>,
}

/// Time in the queue for a database connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wait {
    nanos: u64,
    /// Some of it was not told apart from connecting.
    is_unknown: bool,
}

impl Wait {
    pub(super) fn nanos(self) -> Option<u64> {
        (!self.is_unknown).then_some(self.nanos)
    }
}

impl Figures {
    /// Adds those of a label; several become one where they are `other`.
    pub(super) fn add(&mut self, totals: &LabelTotals) {
        self.started += totals.started;
        self.in_flight += totals.in_flight;
        for (sum, n) in
            self.endings.iter_mut().zip([totals.ok, totals.failed, totals.panicked, totals.cancelled])
        {
            *sum += n;
        }
        for (class, n) in totals.responses() {
            *named(&mut self.responses, class) += n;
        }
        self.durations.add(&Spread::from(&totals.durations));
        let usage = &totals.usage;
        if let Some((cpu, system)) = usage.cpu().zip(usage.cpu_system()) {
            self.cpu.get_or_insert_default().add(cpu, system, totals);
        }
        self.transactions += usage.db_txn_count;
        self.transaction_time += nanos(usage.db_txn_duration);
        self.acquire += nanos(usage.db_acquire);
        match usage.db_wait() {
            Some(wait) => self.wait.nanos += nanos(wait),
            None => self.wait.is_unknown = true,
        }
        let remote = usage.remote();
        if !remote.is_empty() {
            self.remote.get_or_insert_default().add(&remote);
        }
        for (name, n) in usage.counters() {
            *named(&mut self.counters, name) += n;
        }
    }

    /// Nothing is less than it was: what is, is as it was.
    pub(super) fn raise_to(&mut self, last: &Self) {
        raise(&mut self.started, last.started);
        raise_all(&mut self.endings, &last.endings);
        for (class, n) in &last.responses {
            raise(named(&mut self.responses, class), *n);
        }
        self.durations.raise_to(&last.durations);
        if let (Some(cpu), Some(last)) = (&mut self.cpu, last.cpu) {
            cpu.raise_to(last);
        } else if self.cpu.is_none() {
            self.cpu = last.cpu;
        }
        raise(&mut self.transactions, last.transactions);
        raise(&mut self.transaction_time, last.transaction_time);
        raise(&mut self.wait.nanos, last.wait.nanos);
        raise(&mut self.acquire, last.acquire);
        if let Some(last) = &last.remote {
            self.remote.get_or_insert_default().raise_to(last);
        }
        for (name, n) in &last.counters {
            raise(named(&mut self.counters, name), *n);
        }
    }
}

impl Remote {
    /// Others say it: no sum overflows.
    fn add(&mut self, usage: &RemoteUsage) {
        let add = |sum: &mut u64, n: u64| *sum = sum.saturating_add(n);
        let add_told = |sum: &mut Option<u64>, time: Option<Duration>| {
            if let Some(time) = time {
                add(sum.get_or_insert_default(), nanos(time));
            }
        };
        add(&mut self.calls, usage.calls);
        add(&mut self.unknown, usage.unknown);
        add(&mut self.transactions, usage.db_txn_count);
        add(&mut self.transaction_time, nanos(usage.db_txn_duration));
        add_told(&mut self.cpu, usage.cpu());
        add_told(&mut self.wait, usage.db_wait());
    }

    fn raise_to(&mut self, last: &Self) {
        raise(&mut self.calls, last.calls);
        raise(&mut self.unknown, last.unknown);
        raise(&mut self.transactions, last.transactions);
        raise(&mut self.transaction_time, last.transaction_time);
        self.cpu = self.cpu.max(last.cpu);
        self.wait = self.wait.max(last.wait);
    }
}

impl Cpu {
    fn add(&mut self, cpu: Duration, system: Duration, totals: &LabelTotals) {
        let (cpu, system, open) = (nanos(cpu), nanos(system), nanos(totals.open_cpu));
        self.total += cpu + open;
        // How an open slice is split is not known yet: as the label's other time is.
        let share = if cpu == 0 { 0.0 } else { system as f64 / cpu as f64 };
        self.system += system + ((open as f64 * share) as u64).min(open);
        self.after_finish += nanos(totals.after_finish);
    }

    /// The two modes are clamped together: each only grows, and their sum is the total all the same.
    fn raise_to(&mut self, last: Self) {
        raise(&mut self.total, last.total);
        raise(&mut self.after_finish, last.after_finish);
        let user = last.total - last.system;
        self.system = self.system.clamp(last.system, self.total - user);
    }
}

impl From<&Buckets> for Spread {
    fn from(buckets: &Buckets) -> Self {
        let mut spread = Self { nanos: nanos(buckets.sum), ..Self::default() };
        let mut before = 0;
        for (bound, at_most) in buckets.at_most() {
            spread.bounds.push(bound);
            spread.counts.push(at_most - before);
            before = at_most;
        }
        spread.counts.push(buckets.count().saturating_sub(before));
        spread
    }
}

impl Spread {
    /// Adds another one of the same bounds; one that is empty takes the other's.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.clone_from(other);
            return;
        }
        for (sum, n) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(*n);
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    pub(crate) fn raise_to(&mut self, last: &Self) {
        if self.counts.is_empty() {
            self.clone_from(last);
        } else {
            raise_all(&mut self.counts, &last.counts);
            raise(&mut self.nanos, last.nanos);
        }
    }
}

fn raise(value: &mut u64, last: u64) {
    *value = (*value).max(last);
}

fn raise_all(values: &mut [u64], last: &[u64]) {
    for (value, last) in values.iter_mut().zip(last) {
        raise(value, *last);
    }
}

fn named<'a>(list: &'a mut Vec<(&'static str, u64)>, name: &'static str) -> &'a mut u64 {
    let index = list.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        list.push((name, 0));
        list.len() - 1
    });
    &mut list[index].1
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(total: u64, system: u64) -> Cpu {
        Cpu { total, system, after_finish: 0 }
    }

    #[test]
    fn neither_mode_goes_down_and_their_sum_is_the_total() {
        // An open slice was taken to be half system time, and was none; then a share moved to another label.
        let readings = [cpu(100, 50), cpu(120, 10), cpu(90, 10), cpu(121, 121), cpu(500, 5)];
        let mut last = Cpu::default();
        for mut now in readings {
            let total = now.total.max(last.total);
            now.raise_to(last);
            assert_eq!(now.total, total);
            assert!(
                now.system >= last.system && now.total - now.system >= last.total - last.system,
                "{now:?}"
            );
            last = now;
        }
        assert_eq!(last, cpu(500, 51));
    }

    #[test]
    fn a_spread_is_what_its_buckets_are() {
        let histogram = logcontext::source::Histogram::seconds();
        for millis in [0, 3, 3, 1_000_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let spread = Spread::from(&histogram.read());
        assert_eq!(spread.counts.len(), spread.bounds.len() + 1);
        assert_eq!(spread.counts.iter().sum::<u64>(), 4);
        assert_eq!((spread.counts[0], spread.counts.last()), (1, Some(&1)));
        assert_eq!(spread.nanos, 1_000_006_000_000);
    }
}

//! Figures of pools, caches, buses and writers: registered with a supervisor, read by whoever exposes metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What kind of figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FigureKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How observations are spread: see [`Histogram`].
    Histogram,
}

/// A figure that a source has: described once, collected many times.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name: lower case, with the base unit, such as `log_records_dropped`.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub help: &'static str,
    /// What kind of figure it is.
    pub kind: FigureKind,
}

/// Something with figures to show.
pub trait Source: Send + Sync {
    /// The figures it has.
    fn describe(&self) -> &[Figure];

    /// Gives their values now. Called at each scrape; must not block.
    fn collect(&self, out: &mut dyn Collector);
}

/// Takes the figures.
pub trait Collector {
    /// The value of the counter or gauge of this name, for these labels.
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64);

    /// The histogram of this name, for these labels.
    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets);
}

/// Observed durations, counted by how long they were. Observing takes two atomic additions at most.
///
/// ```
/// use logcontext::source::Histogram;
/// use std::time::Duration;
///
/// let waits = Histogram::seconds();
/// waits.observe(Duration::from_millis(3));
/// waits.observe(Duration::from_secs(3600));
/// let buckets = waits.read();
/// assert_eq!(buckets.count(), 2);
/// assert_eq!(buckets.at_most().find(|(bound, _)| *bound >= 0.003).map(|(_, n)| n), Some(1));
/// assert_eq!(buckets.sum, Duration::from_millis(3_600_003));
/// ```
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// Upper bounds in seconds: from what a quiet pool answers in to what nobody waits for.
const BOUNDS: [f64; 17] = [
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// The same in nanoseconds, to count by.
const BOUNDS_NANOS: [u64; BOUNDS.len()] = {
    let mut nanos = [0; BOUNDS.len()];
    let mut i = 0;
    while i < BOUNDS.len() {
        nanos[i] = (BOUNDS[i] * 1e6 + 0.5) as u64 * 1_000;
        i += 1;
    }
    nanos
};

/// One for each bound, and one for what is beyond the last.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// The bucket that so many nanoseconds are counted in.
#[inline]
pub(crate) fn bucket(nanos: u64) -> usize {
    BOUNDS_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a [`Histogram`] holds at one time.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Buckets {
    counts: [u64; BUCKETS],
    /// All observations together.
    pub sum: Duration,
}

impl Buckets {
    /// What was counted elsewhere, by [`bucket`], and the sum of it.
    pub(crate) fn new(counts: [u64; BUCKETS], nanos: u64) -> Self {
        Self { counts, sum: Duration::from_nanos(nanos) }
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many observations were at most so many seconds, for each bound: cumulative, as Prometheus has it. What
    /// is beyond the last bound is in the [count](Self::count) alone.
    pub fn at_most(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let counts = self.counts.iter().scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        });
        BOUNDS.into_iter().zip(counts)
    }
}

impl Histogram {
    /// For durations from a tenth of a millisecond to a minute.
    pub const fn seconds() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], nanos: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let nanos = nanos(duration);
        self.counts[bucket(nanos)].fetch_add(1, Relaxed);
        // Nothing is what is observed of most waits.
        if nanos > 0 {
            self.nanos.fetch_add(nanos, Relaxed);
        }
    }

    /// What was observed so far.
    pub fn read(&self) -> Buckets {
        Buckets {
            counts: std::array::from_fn(|i| self.counts[i].load(Relaxed)),
            sum: Duration::from_nanos(self.nanos.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_by_is_what_is_shown() {
        let shown = BOUNDS.map(|seconds| nanos(Duration::from_secs_f64(seconds)));
        assert_eq!(BOUNDS_NANOS, shown);
        assert!(BOUNDS_NANOS.is_sorted());
    }

    #[test]
    fn an_observation_on_a_bound_is_within_it() {
        let histogram = Histogram::seconds();
        for millis in [0, 1, 10, 11, 100_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let buckets = histogram.read();
        let at_most = |seconds: f64| buckets.at_most().find(|(bound, _)| *bound == seconds).unwrap().1;
        assert_eq!((at_most(0.000_1), at_most(0.001), at_most(0.01), at_most(0.025)), (1, 2, 3, 4));
        assert_eq!((at_most(60.0), buckets.count()), (4, 5));
        assert_eq!(buckets.sum, Duration::from_millis(100_022));
    }
}

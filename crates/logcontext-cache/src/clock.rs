//! The time that entries expire by: tokio's, so that tests which pause it pause the caches.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// Never: what has no expiry.
pub(crate) const NEVER: u64 = u64::MAX;

/// Nanoseconds since it was made. Whether something has expired is asked at every hit, and reading the time would be
/// half of what a hit costs: what is not about to expire is told by the processor's ticks.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    ticks: quanta::Clock,
    first_tick: u64,
    /// By ticks, when the time was read last; and what to add to them to have the time.
    read_at: AtomicU64,
    offset: AtomicU64,
}

/// So long are ticks trusted without reading the time.
const TRUSTED: u64 = 1_000_000_000;
/// By so much they may be wrong after that, and more.
const SLACK: u64 = 5_000_000;

impl Clock {
    pub(crate) fn new() -> Self {
        let ticks = quanta::Clock::new();
        // In this order, as whenever both are read: ticks may be ahead of the time, but not behind it.
        let first_tick = ticks.raw();
        let start = Instant::now();
        Self { start, first_tick, ticks, read_at: AtomicU64::new(0), offset: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        nanos(Instant::now().saturating_duration_since(self.start))
    }

    /// Is this moment over?
    #[inline]
    pub(crate) fn has_passed(&self, at: u64) -> bool {
        if at == NEVER || (!is_pausable() && self.is_surely_ahead(at)) {
            return false;
        }
        self.has_passed_exactly(at)
    }

    /// Is it ahead, and not near? By ticks.
    #[inline]
    fn is_surely_ahead(&self, at: u64) -> bool {
        let ticks = self.ticks();
        // Of ticks that have begun anew, as on machines that slept, this is as long as it gets.
        let age = ticks.wrapping_sub(self.read_at.load(Relaxed));
        age < TRUSTED && at > ticks.wrapping_add(self.offset.load(Relaxed)).saturating_add(SLACK)
    }

    fn has_passed_exactly(&self, at: u64) -> bool {
        let (ticks, now) = (self.ticks(), self.now());
        // Two who do this at once are nanoseconds apart.
        self.offset.store(now.wrapping_sub(ticks), Relaxed);
        self.read_at.store(ticks, Relaxed);
        at <= now
    }

    #[inline]
    fn ticks(&self) -> u64 {
        self.ticks.delta_as_nanos(self.first_tick, self.ticks.raw())
    }

    /// The moment at which something expires that was stored at `now`.
    pub(crate) fn after(now: u64, expiry: Option<Duration>) -> u64 {
        expiry.map_or(NEVER, |expiry| now.saturating_add(nanos(expiry)))
    }

    /// The moment as tokio has it; `None` if it is too far to say.
    pub(crate) fn instant(&self, at: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_nanos(at))
    }
}

/// 584 years are the most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Can tokio's clock be paused? Only where tokio was built with `test-util`: ticks know nothing of that.
#[inline]
fn is_pausable() -> bool {
    // Found instead of the function below, if it is there.
    #[allow(unused_imports, reason = "depends on the features of tokio")]
    use tokio::time::*;

    fn is_tokios<T: 'static>(_: fn() -> T) -> bool {
        std::any::TypeId::of::<T>() != std::any::TypeId::of::<NotThere>()
    }
    is_tokios(resume)
}

/// What stands where tokio's `resume` would be.
struct NotThere;

#[allow(dead_code, reason = "depends on the features of tokio")]
fn resume() -> NotThere {
    NotThere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_clock_can_be_paused_ticks_are_not_trusted() {
        // Tests are built with `test-util`.
        assert!(is_pausable());
    }

    #[test]
    fn ticks_never_say_that_something_is_ahead_which_is_not() {
        let clock = Clock::new();
        for round in 0..20_000_u64 {
            // From long ago to far ahead, most of it near.
            let at = (clock.now() + round * 2_000).saturating_sub(10_000_000);
            let ahead = clock.is_surely_ahead(at);
            // The time is read after the ticks: what was over then is over.
            let before = clock.now();
            assert!(!ahead || at > before, "{at} was over at {before}");
            if round % 100 == 0 {
                assert_eq!(clock.has_passed_exactly(at), at <= before || at <= clock.now());
            }
        }
        let (now, hour) = (clock.now(), 3_600_000_000_000);
        clock.has_passed_exactly(now);
        assert!(clock.is_surely_ahead(now + hour));
        assert!(!clock.is_surely_ahead(now + SLACK / 2), "near, so the time is read");
        clock.read_at.fetch_add(hour, Relaxed);
        assert!(!clock.is_surely_ahead(now + 2 * hour), "the ticks have begun anew, so the time is read");
        clock.read_at.store(0, Relaxed);
        clock.offset.store(0, Relaxed);
        assert!(!clock.has_passed(NEVER) && !clock.has_passed(now + hour) && clock.has_passed(now));
    }
}

//! Two clocks: ticks, which are cheap and count wall time, and the thread's CPU clock, which is exact and
//! costs a system call. One file per platform; where a platform lacks a clock it answers `None`.

use std::sync::OnceLock;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
use other as platform;

pub(crate) use platform::ThreadClock;

/// CPU time that the calling thread has used, in nanoseconds.
#[inline]
pub(crate) fn thread_cpu() -> Option<u64> {
    let cpu = platform::thread_cpu()?;
    #[cfg(any(test, feature = "testing"))]
    let cpu = cpu.saturating_sub(testing::step_back());
    Some(cpu)
}

/// CPU time that the whole process has used, in nanoseconds.
pub(crate) fn process_cpu() -> Option<u64> {
    platform::process_cpu()
}

/// User and system time of the calling thread, in nanoseconds. Moves at the kernel's ticks.
pub(crate) fn thread_user_system() -> Option<(u64, u64)> {
    platform::thread_user_system()
}

/// The ids of all threads of this process, as [`ThreadClock::id`] gives them.
pub(crate) fn thread_ids() -> Vec<i32> {
    platform::thread_ids()
}

/// The tick counter: `quanta` reads the processor's counter where it can be trusted, the system's monotonic
/// clock elsewhere.
fn ticker() -> &'static quanta::Clock {
    static TICKER: OnceLock<quanta::Clock> = OnceLock::new();
    TICKER.get_or_init(quanta::Clock::new)
}

/// A reading of the tick counter.
#[inline]
pub(crate) fn ticks() -> u64 {
    ticker().raw()
}

/// The time between two readings, in nanoseconds; 0 if they are in the wrong order (readings of two
/// processors may differ by a hair).
#[inline]
pub(crate) fn nanos_between(from: u64, to: u64) -> u64 {
    ticker().delta_as_nanos(from, to)
}

/// A clock that tests can make go backwards.
#[cfg(any(test, feature = "testing"))]
pub(crate) mod testing {
    use std::cell::Cell;

    thread_local! {
        static STEP_BACK: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn step_back() -> u64 {
        STEP_BACK.get()
    }

    /// From now on the calling thread's CPU clock reads this many nanoseconds less.
    pub(crate) fn set_step_back(nanos: u64) {
        STEP_BACK.set(nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_go_forward_and_a_pair_in_the_wrong_order_is_nothing() {
        let a = ticks();
        std::thread::yield_now();
        let b = ticks();
        assert!(b >= a);
        assert_eq!(nanos_between(b + 1_000_000, b), 0);
    }
}

//! Two clocks: ticks, which are cheap and count wall time, and the thread's CPU clock, which is exact and
//! costs a system call. One file per platform; where a platform lacks a clock it answers `None`.

mod ticks;

#[cfg(all(target_os = "linux", not(logcontext_no_cpu_clock)))]
mod linux;
#[cfg(all(target_os = "linux", not(logcontext_no_cpu_clock)))]
use linux as platform;

// The cfg lets tests on Linux see what users of other systems get.
#[cfg(any(not(target_os = "linux"), logcontext_no_cpu_clock))]
mod other;
#[cfg(any(not(target_os = "linux"), logcontext_no_cpu_clock))]
use other as platform;

pub(crate) use platform::ThreadClock;
pub(crate) use ticks::{nanos_between, ticks};

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

/// What the kernel keeps about a thread beside its CPU clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadRecord {
    /// User time in nanoseconds. Moves at the kernel's ticks.
    #[cfg_attr(not(test), expect(dead_code, reason = "the CPU clock has the sum, and is sharper"))]
    pub(crate) user: u64,
    /// System time, likewise.
    pub(crate) system: u64,
    /// How often the thread has given up its processor by itself: to wait, to block, to park.
    pub(crate) waits: u64,
}

/// The record of the calling thread.
pub(crate) fn thread_record() -> Option<ThreadRecord> {
    platform::thread_record()
}

/// The ids of all threads of this process, as [`ThreadClock::id`] gives them.
pub(crate) fn thread_ids() -> Vec<i32> {
    platform::thread_ids()
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

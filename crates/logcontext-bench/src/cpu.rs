//! The CPU clock of this process, and where it runs.

use rustix::time::{ClockId, clock_gettime};

/// What all threads of this process have used so far, user and system, in nanoseconds: exact, also for threads that run.
pub(crate) fn process_nanos() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// From now on this thread, and those that it starts, share one processor. Answers whether that can be had here.
///
/// What it costs to wake another thread depends on where that happens to run: more than what is to be measured.
pub(crate) fn share_one_processor() -> bool {
    run_on_the_last(None)
}

/// The same for another process of this machine, by its id.
pub(crate) fn shares_that_processor(process: i32) -> bool {
    run_on_the_last(Some(process))
}

/// From now on this thread, and those that it starts, leave that processor to others. Answers whether there is another.
pub(crate) fn leave_that_processor() -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{sched_getaffinity, sched_setaffinity};

        let Some((last, mut others)) = the_last().zip(sched_getaffinity(None).ok()) else { return false };
        others.unset(last);
        others.count() > 0 && sched_setaffinity(None, &others).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// The last one: the first is the one that most others are on.
#[cfg(target_os = "linux")]
fn the_last() -> Option<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let may = sched_getaffinity(None).ok()?;
    (0..CpuSet::MAX_CPU).rev().find(|&processor| may.is_set(processor))
}

fn run_on_the_last(process: Option<i32>) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::Pid;
        use rustix::thread::{CpuSet, sched_setaffinity};

        let process = match process.map(Pid::from_raw) {
            Some(None) => return false,
            Some(process) => process,
            None => None,
        };
        let Some(last) = the_last() else { return false };
        let mut one = CpuSet::new();
        one.set(last);
        sched_setaffinity(process, &one).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = process;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_moves_the_clock() {
        let start = process_nanos();
        while process_nanos() < start + 1_000_000 {
            std::hint::black_box(());
        }
        assert!(process_nanos() > start);
    }
}

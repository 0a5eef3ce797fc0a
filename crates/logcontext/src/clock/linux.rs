//! Linux: `clock_gettime` for exact CPU time, `getrusage` for its split into user and system time,
//! `/proc/self/task` for the threads that nobody told us of.

#![allow(unsafe_code, reason = "reading the kernel's clocks goes through libc")]

use std::mem::MaybeUninit;

use super::ThreadRecord;

/// The CPU clock of one thread of this process, readable from every other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock {
    thread: libc::pid_t,
}

impl ThreadClock {
    pub(crate) fn current() -> Self {
        // SAFETY: gettid takes nothing, touches no memory of ours and cannot fail.
        Self { thread: unsafe { libc::gettid() } }
    }

    /// The clock of the thread with this id, as [`thread_ids`] lists them.
    pub(crate) fn of(id: i32) -> Self {
        Self { thread: id }
    }

    pub(crate) fn id(self) -> i32 {
        self.thread
    }

    /// CPU time of that thread in nanoseconds; `None` once it has ended.
    pub(crate) fn read(self) -> Option<u64> {
        if self.thread <= 0 {
            return None;
        }
        // The kernel's encoding of "scheduler clock of thread N": the id's complement above three flag bits,
        // 4 for "one thread" and 2 for "scheduler clock".
        read_clock((!self.thread << 3) | 6)
    }
}

#[inline]
pub(crate) fn thread_cpu() -> Option<u64> {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

pub(crate) fn process_cpu() -> Option<u64> {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

#[inline]
fn read_clock(clock: libc::clockid_t) -> Option<u64> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is to a timespec of ours that outlives the call; the kernel checks the clock id.
    let answer = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    if answer != 0 {
        return None;
    }
    // SAFETY: clock_gettime answered 0, so it has filled the timespec in.
    let time = unsafe { time.assume_init() };
    Some(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

pub(crate) fn thread_record() -> Option<ThreadRecord> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is to an rusage of ours that outlives the call.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    if answer != 0 {
        return None;
    }
    // SAFETY: getrusage answered 0, so it has filled the struct in.
    let usage = unsafe { usage.assume_init() };
    let nanos = |t: libc::timeval| t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_usec.unsigned_abs() * 1_000;
    Some(ThreadRecord {
        user: nanos(usage.ru_utime),
        system: nanos(usage.ru_stime),
        waits: usage.ru_nvcsw.unsigned_abs(),
    })
}

pub(crate) fn thread_ids() -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn() {
        let start = thread_cpu().unwrap();
        while thread_cpu().unwrap() < start + 20_000_000 {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn the_threads_clock_moves_with_its_work_and_the_process_holds_it() {
        let (thread, process) = (thread_cpu().unwrap(), process_cpu().unwrap());
        burn();
        assert!(thread_cpu().unwrap() - thread >= 20_000_000);
        assert!(process_cpu().unwrap() - process >= 20_000_000);
    }

    #[test]
    fn a_threads_clock_is_read_from_another_thread_and_ends_with_it() {
        let mine = ThreadClock::current();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::scope(|s| {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            let other = s
                .spawn(|| {
                    let clock = ThreadClock::current();
                    burn();
                    clock
                })
                .join()
                .unwrap();
            drop((go, wait));
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            let here = s.spawn(move || mine.read()).join().unwrap();
            assert!(here.is_some());
            other
        });
        while other.read().is_some() {
            std::thread::yield_now();
        }
        assert!(thread_ids().contains(&mine.id()));
    }

    #[test]
    fn user_and_system_time_add_up_to_the_threads_clock() {
        burn();
        let before = thread_cpu().unwrap();
        let ThreadRecord { user, system, .. } = thread_record().unwrap();
        let after = thread_cpu().unwrap();
        // getrusage counts in microseconds, and each of its two figures is rounded down.
        assert!(user + system + 2_000 >= before && user + system <= after + 2_000);
        assert_eq!(ThreadClock::of(-1).read(), None);
    }
}

//! A second opinion on what a context used: the thread's own clock, read within each of its polls.
#![allow(unreachable_pub, reason = "shared by test files")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use logcontext::bench::thread_cpu_nanos;
use logcontext::{FutureExt, LogContext};

/// A context that is charged for polls, and what these polls really used.
///
/// Each poll begins and ends with a reading of the thread's CPU clock. That clock stands still while the thread is
/// preempted, blocked or parked, and the two readings see the same work at the same speed as the meter did: how busy
/// the machine is, how fast it is just now and how long a build without optimization takes is in both figures.
#[derive(Clone, Debug)]
pub struct Nested {
    context: LogContext,
    truth: Arc<Truth>,
}

#[derive(Debug, Default)]
struct Truth {
    nanos: AtomicU64,
    polls: AtomicU64,
}

impl Nested {
    pub fn new(name: &'static str) -> Self {
        Self { context: LogContext::new(name), truth: Arc::default() }
    }

    /// Runs the future in the context, with the clock around each of its polls. Of the two readings a part lies
    /// outside of what they see, one reading in all. What that costs here and now a third one tells, the last thing
    /// that the poll does.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let truth = Arc::clone(&self.truth);
        let measured = async move {
            let mut future = pin!(future);
            poll_fn(|cx| {
                let start = clock();
                let result = future.as_mut().poll(cx);
                let end = clock();
                let last = clock();
                truth.nanos.fetch_add((last - start) + (last - end), Relaxed);
                truth.polls.fetch_add(1, Relaxed);
                result
            })
            .await
        };
        measured.in_context(self.context.clone())
    }

    /// What the polls used by the clock in them, in nanoseconds.
    pub fn used(&self) -> f64 {
        self.truth.nanos.load(Relaxed) as f64
    }

    /// What the context was charged, in nanoseconds.
    pub fn charged(&self) -> f64 {
        self.context.usage().cpu().unwrap().as_nanos() as f64
    }

    pub fn ratio(&self) -> f64 {
        self.charged() / self.used()
    }

    /// How far off the charge is, if each poll rightly costs as much beside what its clock sees as each of the
    /// other's did: the way to that clock and back. That is some 30 ns if the compiler has optimized it, hundreds
    /// if it has not, and more where neighbours keep the caches cold.
    pub fn error_beside(&self, other: &Self) -> f64 {
        let beside = (other.charged() - other.used()) / other.polls();
        (self.charged() - self.polls() * beside) / self.used() - 1.0
    }

    fn polls(&self) -> f64 {
        self.truth.polls.load(Relaxed) as f64
    }
}

fn clock() -> u64 {
    thread_cpu_nanos().unwrap()
}

//! How far off the CPU time is that a context is charged, while the machine is busy.
//!
//! Everything runs while other threads burn all they get, so that workers are preempted all the time. Two kinds
//! of truth:
//! - **Shares.** Polls that only compute: contexts do the same work at the same time, in polls of different
//!   lengths; each should have the same share of what all were charged. See [`compute`].
//! - **A nested clock.** Where polls block, or the worker parks between them: each poll reads the thread's CPU
//!   clock at its begin and at its end, and the context should have been charged the sum. See [`Nested`].
//!
//! What a context pays by right beyond its work is allowed for before the comparison: half of each switch, whose
//! one reading of the ticks ends a slice and begins the next, measured without the meter; and the nested
//! clock's own cost. What is not: that a first switch after a park or a system call finds the caches cold.

mod alarm;
mod block;
mod compute;
mod park;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use logcontext::bench::thread_cpu_nanos;
use logcontext::{FutureExt, LogContext};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::Effort;
use crate::report::{Report, rounded};
use crate::rounds::in_turn;
use crate::stats::Samples;
use crate::switches::repeat;

const RUNS: usize = 5;

/// By key, the error in percent of each run.
type Errors = BTreeMap<&'static str, Samples>;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Error of one context's CPU under contention, in percent");
    if thread_cpu_nanos().is_none() {
        report.note("no CPU clock for threads here: nothing is measured, nothing is to be compared");
        return;
    }
    let costs = Costs::measure();
    report.note(&format!(
        "a unit of work has {} iterations; half a switch is {:.1} ns",
        costs.iterations, costs.half_switch
    ));
    let mut errors = Errors::new();
    let mut lengths = BTreeMap::<&'static str, Samples>::new();
    for _ in 0..RUNS {
        compute::run(&costs, effort, &mut errors);
        block::long(&costs, effort, &mut errors, &mut lengths);
        block::short(&costs, effort, &mut errors, &mut lengths);
        park::run(&costs, effort, &mut errors, &mut lengths);
    }

    for (key, runs) in &errors {
        report.line(key, runs.spread(), ceiling(key));
    }
    for (key, lengths) in &lengths {
        report.note(&format!("{key}: really {:.1} us", lengths.median()));
    }
    let medians = |samples: &BTreeMap<&str, Samples>| -> Value {
        samples.iter().map(|(key, samples)| ((*key).to_owned(), rounded(samples.median()))).collect()
    };
    report.put("cpu_error_pct", medians(&errors));
    report.put("cpu_error_observed_us", medians(&lengths));
    let runs: BTreeMap<_, Vec<_>> =
        errors.iter().map(|(key, runs)| (key, runs.values().iter().map(|&e| rounded(e)).collect())).collect();
    report.put("cpu_error_runs_pct", json!(runs));
    report.put(
        "cpu_error_method",
        json!({
            "poll": "equal work at once, as shares; half a switch per poll taken off",
            "block, park, victim": "thread clock nested in each poll, its own cost included; half a switch per poll taken off",
            "half_switch_ns": rounded(costs.half_switch),
            "runs": RUNS,
        }),
    );
}

/// DESIGN: 1 % for compute polls, 2 % with long blocks, 5 % with short parks and blocks and for their victims.
fn ceiling(key: &str) -> Option<f64> {
    Some(match key {
        _ if key.starts_with("poll_") => 1.0,
        "block_2ms" => 2.0,
        _ => 5.0,
    })
}

/// What things cost on this machine, measured without the meter.
#[derive(Clone, Copy)]
struct Costs {
    /// Iterations in a [`unit()`] of work: about 2 us.
    iterations: u32,
    /// Half of what a poll in a context costs beyond a bare one.
    half_switch: f64,
}

impl Costs {
    fn measure() -> Self {
        let bare = || {
            poll_fn(|_| {
                black_box(());
                Poll::<()>::Pending
            })
        };
        let (cx, cx_bare) =
            (&mut Context::from_waker(Waker::noop()), &mut Context::from_waker(Waker::noop()));
        let mut in_context = pin!(bare().in_context(LogContext::new("calibration")));
        let mut bare = pin!(bare());
        let [ours, bare] = in_turn(
            500,
            1_000,
            [&mut |n| repeat(n, || in_context.as_mut().poll(cx)), &mut |n| {
                repeat(n, || bare.as_mut().poll(cx_bare));
            }],
        );
        let [work] = in_turn(500, 100, [&mut |n| unit(100 * n)]);
        Self {
            iterations: (2_000.0 / (work.median() / 100.0)) as u32,
            half_switch: (ours.median() - bare.median()) / 2.0,
        }
    }

    fn burn(&self, units: u32) {
        for _ in 0..units {
            unit(self.iterations);
        }
    }
}

/// Work that needs nothing but the processor: no memory, no branches to guess but the loop's own. All work is
/// made of units of the same length, so that a long poll and many short ones do exactly the same.
#[inline(never)]
fn unit(iterations: u32) {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..iterations {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}

/// Runs `f` while so many other threads burn all the CPU that they get.
fn under_contention<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let _stop = Stop(&stop);
        for _ in 0..threads {
            #[expect(clippy::disallowed_methods, reason = "it only keeps a processor busy")]
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    unit(10_000);
                }
            });
        }
        f()
    })
}

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
}

#[expect(
    clippy::disallowed_methods,
    reason = "what these tasks do outside of their contexts is to be nobody's"
)]
fn spawn<F>(runtime: &Runtime, future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime.spawn(future)
}

/// Goes to the end of the worker's queue, outside of any context.
async fn to_the_end_of_the_queue() {
    let mut been = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut been, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The thread's CPU clock: that there is one has been seen to.
#[inline]
fn clock() -> u64 {
    thread_cpu_nanos().unwrap_or_default()
}

fn charged(context: &LogContext) -> f64 {
    context.usage().cpu().unwrap_or(Duration::ZERO).as_nanos() as f64
}

/// A context that is charged for polls, and what these polls really used, by a clock nested in them.
#[derive(Clone)]
struct Nested {
    context: LogContext,
    truth: Arc<Truth>,
}

#[derive(Default)]
struct Truth {
    nanos: AtomicU64,
    polls: AtomicU64,
}

impl Nested {
    fn new(name: &'static str) -> Self {
        Self { context: LogContext::new(name), truth: Arc::default() }
    }

    /// One poll in the context that does `work`, begun and ended by a reading of the thread's clock. Of these two
    /// readings a part lies outside: together, one reading. What that costs here and now a third one tells, which
    /// is the last thing that the poll does. What is read is booked outside.
    async fn poll(&self, mut work: impl FnMut()) {
        let used = poll_fn(|_| {
            let start = clock();
            work();
            let end = clock();
            let last = clock();
            Poll::Ready((last - start) + (last - end))
        })
        .in_context(self.context.clone())
        .await;
        self.truth.nanos.fetch_add(used, Relaxed);
        self.truth.polls.fetch_add(1, Relaxed);
    }

    fn error_pct(&self, costs: &Costs) -> f64 {
        let polls = self.truth.polls.load(Relaxed) as f64;
        let truth = self.truth.nanos.load(Relaxed) as f64 + polls * costs.half_switch;
        (charged(&self.context) / truth - 1.0) * 100.0
    }
}

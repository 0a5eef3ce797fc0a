//! What a switch costs, next to the two readings of the tick counter that it cannot do without.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use logcontext::bench::thread_cpu_nanos;
use logcontext::{FutureExt, LogContext};
use serde_json::json;

use crate::Effort;
use crate::report::{Report, rounded};
use crate::rounds::in_turn;
use crate::stats::Samples;

tokio::task_local! {
    static PEER: u64;
}

/// What a thread says instead of its number of rounds.
const DONE: u64 = u64::MAX;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Switches, in nanoseconds");
    let rounds = effort.of(2_000);

    let clock = quanta::Clock::new();
    let root = LogContext::new("root");
    let parent = root.nested("parent");
    let nested = parent.nested("child");
    let noop = &mut Context::from_waker(Waker::noop());
    let (cx, cx_bare, cx_peer) = (
        &mut Context::from_waker(noop.waker()),
        &mut Context::from_waker(noop.waker()),
        &mut Context::from_waker(noop.waker()),
    );
    let mut bare_future = pin!(pending());
    let mut our_future = pin!(pending().in_context(LogContext::new("poll")));
    let mut peer_future = pin!(PEER.scope(17, pending()));

    let [tick, now, switch, guard, nested, current, bare, ours, peer, instants] = in_turn(
        rounds,
        1_000,
        [
            &mut |n| repeat(n, || clock.raw()),
            &mut |n| repeat(n, || clock.now()),
            &mut |n| repeat(n, || root.scope(|| black_box(()))),
            &mut |n| repeat(n, || drop(black_box(root.enter()))),
            &mut |n| repeat(n, || nested.scope(|| black_box(()))),
            &mut |n| root.scope(|| repeat(n, || root.scope(|| black_box(())))),
            &mut |n| repeat(n, || bare_future.as_mut().poll(cx_bare)),
            &mut |n| repeat(n, || our_future.as_mut().poll(cx)),
            &mut |n| repeat(n, || peer_future.as_mut().poll(cx_peer)),
            &mut |n| repeat(n, || Instant::now().elapsed()),
        ],
    );
    let poll = ours.zip(&bare, |ours, bare| ours - bare);
    let over = |samples: &Samples| samples.zip(&tick, |nanos, tick| nanos / (2.0 * tick));

    let two_ticks = 2.0 * tick.median();
    report.figure("tick_read_ns", tick.spread());
    report.figure("tick_now_ns", now.spread());
    report.bounded("switch_ns", switch.spread(), 1.3 * two_ticks);
    report.bounded("switch_over_two_ticks", over(&switch).spread(), 1.3);
    // The guard keeps a list, so that guards may go in any order: for code that cannot be a closure.
    report.bounded("guard_ns", guard.spread(), 1.3 * two_ticks);
    report.bounded("nested_switch_ns", nested.spread(), (1.3 + 2.0 * 0.4) * two_ticks);
    report.bounded("nested_switch_over_two_ticks", over(&nested).spread(), 1.3 + 2.0 * 0.4);
    report.figure("already_current_ns", current.spread());
    report.bounded("poll_ns", poll.spread(), 1.3 * two_ticks);
    report.bounded("poll_over_two_ticks", over(&poll).spread(), 1.3);

    clocks(report, effort);
    with_system_time(report, effort);
    two_threads(report, effort);

    report.line("peer: tokio task_local poll", peer.spread(), None);
    report.line("peer: two Instants", instants.spread(), None);
    report.put(
        "peers",
        json!({
            "bare_poll_ns": rounded(bare.median()),
            "tokio_task_local_poll_ns": rounded(peer.median()),
            "two_instants_ns": rounded(instants.median()),
        }),
    );
}

/// What charging by the thread's CPU clock at every switch would cost.
fn clocks(report: &mut Report, effort: Effort) {
    let [one, two] = in_turn(
        effort.of(500),
        100,
        [&mut |n| repeat(n, thread_cpu_nanos), &mut |n| {
            repeat(n, || (thread_cpu_nanos(), black_box(thread_cpu_nanos())));
        }],
    );
    report.figure("thread_clock_read_ns", one.spread());
    report.figure("two_thread_clock_reads_ns", two.spread());
}

/// A thread that spends time in the kernel has a system time to hand out with each charge. Threads of services
/// do; the loops above do not.
fn with_system_time(report: &mut Report, effort: Effort) {
    let clock = quanta::Clock::new();
    let context = LogContext::new("system");
    let [tick, switch, _] = in_turn(
        effort.of(1_000),
        1_000,
        [
            &mut |n| repeat(n, || clock.raw()),
            &mut |n| repeat(n, || context.scope(|| black_box(()))),
            // About as long as the switches take, all of it system calls.
            &mut |n| repeat(n / 16, thread_cpu_nanos),
        ],
    );
    report.bounded("switch_with_system_time_ns", switch.spread(), 1.3 * 2.0 * tick.median());
}

/// Two threads switch in and out of the same context at once: its counters go back and forth between them. Only
/// rounds count in which the other one did about as many: neither was preempted.
fn two_threads(report: &mut Report, effort: Effort) {
    const ROUND: u32 = 1_000;
    let context = LogContext::new("shared");
    let wanted = effort.of(1_000);
    let rounds = [AtomicU64::new(0), AtomicU64::new(0)];
    let measure = |mine: usize| {
        let (mine, others) = (&rounds[mine], &rounds[1 - mine]);
        let mut samples = Samples::default();
        while samples.values().len() < wanted && others.load(Relaxed) != DONE {
            let before = others.load(Relaxed);
            let start = Instant::now();
            repeat(ROUND, || context.scope(|| black_box(())));
            let nanos = start.elapsed().as_nanos() as f64 / f64::from(ROUND);
            if (1..=2).contains(&others.load(Relaxed).wrapping_sub(before)) {
                samples.push(nanos);
            }
            mine.fetch_add(1, Relaxed);
        }
        mine.store(DONE, Relaxed);
        samples
    };
    let together = std::thread::scope(|s| {
        #[expect(clippy::disallowed_methods, reason = "it enters its contexts itself")]
        let other = s.spawn(|| measure(1));
        let mine = measure(0);
        let others = other.join().expect("a thread that only switches");
        mine.values().iter().chain(others.values()).copied().collect::<Samples>()
    });
    report.figure("two_threads_same_context_switch_ns", together.spread());
}

/// The poll of a future that is never ready: nothing but the poll.
fn pending() -> impl Future<Output = ()> {
    poll_fn(|_| {
        black_box(());
        Poll::Pending
    })
}

#[inline]
pub(crate) fn repeat<R>(n: u32, mut f: impl FnMut() -> R) {
    for _ in 0..n {
        black_box(f());
    }
}

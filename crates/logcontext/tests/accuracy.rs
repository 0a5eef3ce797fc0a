//! CPU goes to whom it belongs. Every figure here is one CPU clock beside another, or a share within one run;
//! none is wall time.
#![cfg(all(feature = "tokio", target_os = "linux"))]

mod common;

use std::future::Future;
use std::hint::black_box;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::burn;
use common::nested::Nested;
use logcontext::bench::thread_cpu_nanos;
use logcontext::diagnostics::DiagnosticKind;
use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext, current_context, spawn_blocking};
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, yield_now};

/// Does a fixed amount of work.
fn work(units: u64) {
    let mut x = black_box(1_u64);
    for i in 0..units * 1_000 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i);
    }
    black_box(x);
}

fn cpu(context: &LogContext) -> f64 {
    context.usage().cpu().unwrap().as_nanos() as f64
}

/// Measures until it comes out right, five times at most: a machine that is busy with other things may spoil one
/// measurement, a meter that is wrong spoils all.
fn measure(mut once: impl FnMut() -> Result<(), String>) {
    let mut wrong = Vec::new();
    for _ in 0..5 {
        match once() {
            Ok(()) => return,
            Err(error) => wrong.push(error),
        }
    }
    panic!("five times: {wrong:#?}");
}

fn check(right: bool, error: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(error()) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs tasks that do so many rounds of work each, all at once.
fn run_at_once(runtime: &Runtime, rounds: &[u64]) -> Vec<Nested> {
    let contexts: Vec<_> = rounds.iter().map(|_| Nested::new("task")).collect();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for (context, rounds) in contexts.iter().zip(rounds) {
            let rounds = *rounds;
            let task = async move {
                for _ in 0..rounds {
                    work(20);
                    yield_now().await;
                }
            };
            #[expect(clippy::disallowed_methods, reason = "the future has its context")]
            tasks.spawn(context.run(task));
        }
        tasks.join_all().await;
    });
    contexts
}

/// Every task is charged what it used, within 3 %, and no task more or less of that than the others, within 1 %:
/// medians of five runs. What a poll costs beside its work is the same for all of them.
fn expect_equal_charges(runtime: &Runtime, rounds: &[u64]) {
    let runs: Vec<_> = (0..5).map(|_| run_at_once(runtime, rounds)).collect();
    let mean = |run: &[Nested]| run.iter().map(Nested::ratio).sum::<f64>() / run.len() as f64;
    for task in 0..rounds.len() {
        let ratio = median(runs.iter().map(|run| run[task].ratio()).collect());
        assert!((ratio - 1.0).abs() < 0.03, "task {task} of {rounds:?}: {ratio:.3} of what it used");
        let beside = median(runs.iter().map(|run| run[task].ratio() / mean(run) - 1.0).collect());
        assert!(beside.abs() < 0.01, "task {task} of {rounds:?}: {:+.1} % beside all", beside * 100.0);
    }
}

fn on_one_worker_and_on_several(f: impl Fn(&Runtime, &Test)) {
    let test = testing::start();
    f(&test.current_thread(), &test);
    f(&test.multi_thread(1), &test);
    f(&test.multi_thread(3), &test);
}

#[test]
fn equal_tasks_are_charged_equally() {
    on_one_worker_and_on_several(|runtime, _| expect_equal_charges(runtime, &[500; 4]));
}

#[test]
fn tasks_are_charged_in_proportion_to_their_work() {
    on_one_worker_and_on_several(|runtime, _| {
        expect_equal_charges(runtime, &std::array::from_fn::<u64, 10, _>(|i| 100 * (i as u64 + 1)));
    });
}

#[test]
fn a_thousand_interleaved_requests_of_short_polls_are_charged_what_they_burned() {
    let test = testing::start();
    let runtime = test.multi_thread(1);
    measure(|| a_thousand_requests(&runtime));
}

fn a_thousand_requests(runtime: &Runtime) -> Result<(), String> {
    const POLLS: u64 = 10;
    // Every fifth request makes five bursts a poll: what they are charged more than the others is free of what a
    // poll costs beside its bursts, which is the request's as well.
    let bursts = |request: usize| if request.is_multiple_of(5) { 5 } else { 1 };
    let requests: Vec<_> = (0..1_000)
        .map(|request| {
            let context = Nested::new("request");
            let task = async move {
                for _ in 0..POLLS {
                    for _ in 0..bursts(request) {
                        burn(20_000);
                    }
                    yield_now().await;
                }
            };
            #[expect(clippy::disallowed_methods, reason = "the future has its context")]
            let task = runtime.spawn(context.run(task));
            (context, task)
        })
        .collect();
    let (mut ratios, mut charged, mut used) = (Vec::new(), [0.0; 6], [0.0; 6]);
    for (request, (context, task)) in requests.into_iter().enumerate() {
        runtime.block_on(task).unwrap();
        if bursts(request) == 1 {
            ratios.push(context.ratio());
        }
        charged[bursts(request)] += context.charged();
        used[bursts(request)] += context.used();
    }
    ratios.sort_by(f64::total_cmp);
    // Beside its bursts a request pays for its polls, all of them the same; how much that is the sum tells.
    let median = ratios[ratios.len() / 2];
    let (p10, p90) = (ratios[ratios.len() / 10] / median, ratios[ratios.len() * 9 / 10] / median);
    check(p10 > 0.95 && p90 < 1.05, || format!("p10 {p10:.3}, p90 {p90:.3}"))?;
    // The truth is the thread's clock itself: whatever is far from it is an outlier that it does not have.
    let outliers = ratios.iter().filter(|ratio| !(0.75..1.25).contains(&(*ratio / median))).count();
    check(outliers <= 5, || format!("{outliers} outliers"))?;
    let sum = (charged[5] - charged[1] / 4.0) / (used[5] - used[1] / 4.0);
    check((sum - 1.0).abs() < 0.01, || format!("the sum is {sum:.4} of what was burned"))
}

/// Wakes whoever asks, so many nanoseconds of spinning later: shorter than the system's timers can.
struct Alarm(mpsc::Sender<(u64, Box<dyn FnOnce() + Send>)>);

impl Alarm {
    fn new() -> Self {
        let (ask, asked) = mpsc::channel::<(u64, Box<dyn FnOnce() + Send>)>();
        #[expect(clippy::disallowed_methods, reason = "it is not part of what is measured")]
        std::thread::spawn(move || {
            for (spin, wake) in asked {
                burn(spin);
                wake();
            }
        });
        Self(ask)
    }

    async fn after(&self, nanos: u64) {
        let (wake, woken) = tokio::sync::oneshot::channel();
        self.0.send((nanos, Box::new(move || wake.send(()).unwrap()))).unwrap();
        woken.await.unwrap();
    }

    /// The same for one who blocks the thread meanwhile.
    fn block(&self, nanos: u64) {
        let (wake, woken) = mpsc::channel();
        self.0.send((nanos, Box::new(move || wake.send(()).unwrap()))).unwrap();
        woken.recv().unwrap();
    }
}

#[test]
fn short_polls_with_short_parks_between_them_are_charged_right_and_so_are_their_neighbours() {
    expect_right_charges(|alarm, nanos| async move { alarm.after(nanos).await });
}

#[test]
fn short_polls_that_block_are_charged_right_and_so_are_their_neighbours() {
    expect_right_charges(|alarm, nanos| async move { alarm.block(nanos) });
}

/// Who waits in such a way, and their neighbours, are charged what they used: medians of five runs. Nobody is charged
/// less; neighbours are charged no more than their polls cost in a build without optimization; and beside what a
/// poll of the calm one costs everyone is off by less than 5 %.
fn expect_right_charges<W: Future<Output = ()> + Send + 'static>(wait: fn(Arc<Alarm>, u64) -> W) {
    let test = testing::start();
    // Who waits has sends and wake-ups of its own: it may be charged more.
    let bounds = [("those who wait", f64::INFINITY), ("their victims", 1.12), ("the calm", 1.12)];
    for nanos in [3_000, 10_000, 25_000, 50_000] {
        let runs: Vec<_> = (0..5).map(|_| polls_and_waits(&test, nanos, wait)).collect();
        for (i, (who, most)) in bounds.into_iter().enumerate() {
            let ratio = median(runs.iter().map(|run| run[i].ratio()).collect());
            let right = (0.95..most).contains(&ratio);
            assert!(right, "waits of {nanos} ns: {who} are charged {ratio:.3} of what they used");
            let error = median(runs.iter().map(|run| run[i].error_beside(&run[2])).collect());
            assert!(error.abs() < 0.05, "waits of {nanos} ns: {who} {:+.1} %", error * 100.0);
        }
    }
}

/// One worker. The first context burns, asks for the alarm and waits for it; then it is the victim's turn, and then
/// that of a third, who is like the victim, but farther away from it all.
fn polls_and_waits<W>(test: &Test, nanos: u64, wait: fn(Arc<Alarm>, u64) -> W) -> [Nested; 3]
where
    W: Future<Output = ()> + Send + 'static,
{
    let runtime = test.multi_thread(1);
    let alarm = Arc::new(Alarm::new());
    let contexts = ["waiting", "victim", "calm"].map(Nested::new);
    let [waiting, victim, calm] = contexts.clone();
    #[expect(clippy::disallowed_methods, reason = "the futures in it have their contexts")]
    let task = runtime.spawn(async move {
        for _ in 0..2_000 {
            let alarm = Arc::clone(&alarm);
            let burn_and_wait = async move {
                burn(5_000);
                wait(alarm, nanos).await;
            };
            waiting.run(burn_and_wait).await;
            victim.run(async { burn(8_000) }).await;
            calm.run(async { burn(8_000) }).await;
        }
    });
    runtime.block_on(task).unwrap();
    contexts
}

#[test]
fn looking_at_the_clock_is_on_nobodys_bill() {
    const SLICES: u64 = 2_000;
    let _test = testing::start();
    // What a slice is charged beside the burst that it sees itself: a reading of the clock, the switch.
    let beside = |name: &'static str, nanos: u64| {
        let context = LogContext::new(name);
        let truth: u64 = (0..SLICES).map(|_| context.scope(|| burn(nanos))).sum();
        (cpu(&context) - truth as f64) / SLICES as f64
    };
    // Slices that are all longer than 20 us are checked one by one, those of two readings never are. If the
    // meter's own reading were charged, that would be one more.
    measure(|| {
        let runs = (0..5).map(|_| (beside("checked", 25_000), beside("unchecked", 0))).collect::<Vec<_>>();
        let more = median(runs.iter().map(|(checked, unchecked)| checked - unchecked).collect());
        let reading = median(runs.iter().map(|(_, unchecked)| *unchecked).collect());
        check(more.abs() < reading / 2.0, || format!("{more:.0} ns more, a reading is {reading:.0} ns"))
    });
}

#[test]
fn guards_that_go_out_of_order_leave_every_slice_with_its_owner() {
    let test = testing::start();
    let (first, second) = (LogContext::new("first"), LogContext::new("second"));
    let one = first.enter();
    let a = burn(20_000_000);
    let two = second.enter();
    let b = burn(10_000_000);
    drop(one);
    assert_eq!(current_context(), second);
    let c = burn(10_000_000);
    drop(two);
    assert!(current_context().is_sentinel());
    assert_eq!(test.take(DiagnosticKind::GuardOutOfOrder).len(), 1);
    for (context, burned) in [(&first, a), (&second, b + c)] {
        let ratio = cpu(context) / burned as f64;
        assert!((0.99..1.03).contains(&ratio), "{context} {ratio:.3}");
    }
}

#[test]
fn what_drops_burn_is_charged_also_on_cancellation() {
    struct Expensive;
    impl Drop for Expensive {
        fn drop(&mut self) {
            burn(10_000_000);
        }
    }
    on_one_worker_and_on_several(|runtime, _| {
        runtime.block_on(async {
            let (done, cancelled) = (LogContext::new("done"), LogContext::new("cancelled"));
            let held = Expensive;
            async move { drop(held) }.in_context(done.clone()).await;
            let held = Expensive;
            let task = async move {
                let _held = held;
                std::future::pending::<()>().await;
            };
            #[expect(clippy::disallowed_methods, reason = "the future has its context")]
            let task = tokio::spawn(task.in_context(cancelled.clone()));
            yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            for context in [done, cancelled] {
                let millis = cpu(&context) / 1e6;
                assert!((9.9..13.0).contains(&millis), "{context}: {millis:.2} ms");
            }
        });
    });
}

#[test]
fn a_threads_last_slice_is_charged_when_it_ends_in_a_context() {
    let test = testing::start();
    let context = LogContext::new("bridge");
    let entered = context.clone();
    let start = test.thread_start();
    #[expect(clippy::disallowed_methods, reason = "a thread of another language's, say")]
    let thread = std::thread::spawn(move || {
        start();
        logcontext::set_current_context(entered);
        burn(20_000_000)
    });
    let burned = thread.join().unwrap() as f64;
    let ratio = cpu(&context) / burned;
    assert!((0.99..1.05).contains(&ratio), "{ratio:.3}");
}

#[test]
fn user_and_system_time_are_told_apart() {
    use std::io::{Read, Write};

    let test = testing::start();
    // One task per worker, bursts of 200 ms and more: what the kernel's ticks can tell.
    let shares: Vec<_> = (0..3)
        .map(|_| {
            let runtime = test.multi_thread(2);
            let (user, system) = (LogContext::new("user"), LogContext::new("system"));
            runtime.block_on(async {
                let calculating = user.scope(|| spawn_blocking(|| burn_user(250_000_000)));
                let calling = system.scope(|| {
                    spawn_blocking(|| {
                        let start = thread_cpu_nanos().unwrap();
                        let mut zeros = std::fs::File::open("/dev/zero").unwrap();
                        let mut buffer = vec![0; 1 << 20];
                        while thread_cpu_nanos().unwrap() - start < 250_000_000 {
                            zeros.read_exact(&mut buffer).unwrap();
                            std::io::sink().write_all(&buffer).unwrap();
                        }
                    })
                });
                calculating.await.unwrap();
                calling.await.unwrap();
            });
            let share = |context: &LogContext| {
                let usage = context.usage();
                let (user, system) = (usage.cpu_user().unwrap(), usage.cpu_system().unwrap());
                assert_eq!(user + system, usage.cpu().unwrap());
                system.as_secs_f64() / usage.cpu().unwrap().as_secs_f64()
            };
            (share(&user), share(&system))
        })
        .collect();
    let user = median(shares.iter().map(|(user, _)| *user).collect());
    let system = median(shares.iter().map(|(_, system)| *system).collect());
    assert!(user < 0.2, "{:.0} % of pure calculation is called system time", user * 100.0);
    assert!(system > 0.7, "{:.0} % of pure system calls is called system time", system * 100.0);
}

/// Burns user time: looks at the clock rarely.
fn burn_user(nanos: u64) {
    let start = thread_cpu_nanos().unwrap();
    while thread_cpu_nanos().unwrap() - start < nanos {
        work(2_000);
    }
}

#[test]
fn nested_contexts_count_for_all_above_them_once() {
    let test = testing::start();
    let runtime = test.multi_thread(2);
    let request = LogContext::new("GET-1");
    let lookup = request.nested("lookup");
    let query = lookup.nested("query");
    let burned = runtime.block_on(async {
        // By a future, by a scope, by hand: however it is entered.
        let mut burned = async { burn(10_000_000) }.in_context(query.clone()).await;
        burned += query.scope(|| burn(10_000_000));
        let before = logcontext::set_current_context(query.clone());
        burned += burn(10_000_000);
        logcontext::set_current_context(before);
        burned
    }) as f64;
    for context in [&query, &lookup, &request] {
        let ratio = cpu(context) / burned;
        assert!((0.99..1.03).contains(&ratio), "{context}: {ratio:.3}");
    }
    assert_eq!(query.usage().cpu(), request.usage().cpu());
    assert!(request.elapsed() > Duration::ZERO);
}

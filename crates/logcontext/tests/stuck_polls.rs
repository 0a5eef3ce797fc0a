//! Polls that keep an executor from its other work: burned and blocked told apart, and what may take its time.
#![cfg(feature = "tokio")]
mod common;

use std::time::Duration;

use common::{BURST, assert_at, burn, here, on_both, run};
use logcontext::testing::{Record, Test};
use logcontext::{
    FutureExt, LogContext, SlowPolls, block_in_place, preserve_fn, run_in_background, spawn_blocking,
};
use tokio::task::yield_now;
use tracing::Level;

/// Blocks the thread for longer than any limit here. What is tested is that it does nothing meanwhile.
fn block() {
    std::thread::sleep(Duration::from_millis(80));
}

/// On both runtimes, with a limit that a block is longer than, and what a busy machine does to a poll is not.
fn with_limit(f: impl Fn(&tokio::runtime::Runtime, &Test)) {
    on_both(|runtime, test| {
        test.supervisor().set_slow_poll_limit(Duration::from_millis(50));
        f(runtime, test);
    });
}

fn warnings(test: &Test, message: &str) -> Vec<Record> {
    let all = test.records_at(Level::WARN);
    let warnings: Vec<_> = all.iter().filter(|record| record.message == message).cloned().collect();
    assert!(!warnings.is_empty(), "{:?}, {all:?}", test.supervisor().slow_polls());
    warnings
}

#[test]
fn a_poll_that_blocks_is_reported_with_its_context_and_times() {
    with_limit(|runtime, test| {
        let request = LogContext::new("GET-1");
        let made_at = common::line(-1);
        run(runtime, async { block() }.in_context(request));
        let slow = test.supervisor().slow_polls();
        assert_eq!((slow.blocked, slow.burned), (1, 0));
        assert!(slow.longest >= Duration::from_millis(80));
        let warnings = warnings(test, "blocked the executor");
        assert_eq!((warnings.len(), warnings[0].context.name()), (1, "GET-1"));
        assert_eq!(warnings[0].target, "logcontext::executor");
        let millis =
            |field| warnings[0].field(field).unwrap().trim_end_matches(" ms").parse::<f64>().unwrap();
        assert!(millis("wall") >= 80.0);
        assert!(logcontext::bench::thread_cpu_nanos().is_none() || millis("cpu") < 40.0);
        assert_at(&warnings[0], "made_at", &made_at);
        assert_eq!(test.records_at(Level::WARN).len(), 1);
    });
}

#[test]
fn a_poll_that_burns_is_told_apart_from_one_that_blocks() {
    if logcontext::bench::thread_cpu_nanos().is_none() {
        return;
    }
    on_both(|runtime, test| {
        test.supervisor().set_slow_poll_limit(Duration::from_millis(1));
        // A machine with much else to do may keep the thread waiting for longer than it burns, now and then.
        for _ in 0..500 {
            run(runtime, async { burn(BURST / 2) }.in_context(LogContext::new("GET-1")));
            if test.supervisor().slow_polls().burned > 0 {
                break;
            }
        }
        assert_eq!(test.supervisor().slow_polls().burned, 1);
        let warnings = warnings(test, "burned CPU without yielding");
        assert_eq!((warnings.len(), warnings[0].context.name()), (1, "GET-1"));
        let cpu = warnings[0].field("cpu").unwrap().trim_end_matches(" ms").parse::<f64>().unwrap();
        assert!(cpu >= 1.9, "{cpu} ms");
    });
}

#[test]
fn what_yields_in_time_is_no_slow_poll() {
    let test = logcontext::testing::start();
    let runtime = test.current_thread();
    test.supervisor().set_slow_poll_limit(Duration::from_secs(20));
    let body = async {
        for _ in 0..5 {
            burn(BURST);
            yield_now().await;
        }
    };
    run(&runtime, body.in_context(LogContext::new("GET-1")));
    assert_eq!(test.supervisor().slow_polls(), SlowPolls::default());
}

#[test]
fn a_block_inside_polls_inside_each_other_is_reported_once_and_for_the_innermost() {
    with_limit(|runtime, test| {
        let (outer, middle) = (LogContext::new("outer"), LogContext::new("middle"));
        let body = async move {
            let inner = middle.nested("inner");
            async { async { block() }.in_context(inner).await }.in_context(middle).await;
        };
        run(runtime, body.in_context(outer));
        let warnings = warnings(test, "blocked the executor");
        assert_eq!((warnings.len(), warnings[0].context.name()), (1, "middle-inner"));
        assert_eq!(test.supervisor().slow_polls().blocked, 1);
    });
}

#[test]
fn who_blocks_beside_a_slow_part_is_reported_as_well() {
    with_limit(|runtime, test| {
        let (outer, inner) = (LogContext::new("outer"), LogContext::new("inner"));
        let body = async move {
            async { block() }.in_context(inner).await;
            block();
        };
        run(runtime, body.in_context(outer));
        let names: Vec<_> = test.records_at(Level::WARN).into_iter().map(|w| w.context.to_string()).collect();
        assert_eq!(names, ["inner", "outer"]);
    });
}

#[test]
fn a_poll_that_blocked_first_and_burned_a_little_later_has_blocked() {
    with_limit(|runtime, test| {
        let request = LogContext::new("GET-1");
        let part = request.nested("part");
        let body = async move {
            block();
            for _ in 0..4 {
                async { burn(BURST / 2) }.in_context(part.clone()).await;
            }
        };
        run(runtime, body.in_context(request));
        let slow = test.supervisor().slow_polls();
        assert_eq!((slow.blocked, slow.burned), (1, 0), "{slow:?}");
    });
}

#[test]
fn a_drop_that_blocks_is_reported_too() {
    with_limit(|runtime, test| {
        let held = common::OnDrop::new(block);
        let left = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let left = left.in_context(LogContext::new("left"));
        run(runtime, async { drop(left) }.in_context(LogContext::new("canceller")));
        let warnings = warnings(test, "blocked the executor");
        assert_eq!((warnings.len(), warnings[0].context.name()), (1, "left"));
    });
}

#[test]
fn background_work_and_processes_are_looked_at_as_well() {
    with_limit(|runtime, test| {
        let body = async {
            run_in_background(async { block() }).await.unwrap();
            logcontext::background::run("prune", async { block() }).await.unwrap();
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        let names: Vec<_> = test.records_at(Level::WARN).into_iter().map(|w| w.context.to_string()).collect();
        assert_eq!(names, ["GET-1", "prune-0"]);
    });
}

#[test]
fn what_says_that_it_blocks_may() {
    with_limit(|runtime, test| {
        let body = async {
            spawn_blocking(|| {
                block();
                // Even a future that blocks, polled there.
                let slow = async { block() }.in_context(LogContext::new("inside"));
                tokio::runtime::Handle::current().block_on(slow);
            })
            .await
            .unwrap();
            block_in_place(block);
            block_in_place(|| LogContext::new("inside").scope(block));
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        assert_eq!(test.supervisor().slow_polls(), SlowPolls::default());
        assert!(test.records_at(Level::WARN).is_empty());
    });
}

#[test]
fn what_blocks_in_place_may_poll_futures_that_block() {
    let test = logcontext::testing::start();
    let runtime = test.multi_thread(2);
    test.supervisor().set_slow_poll_limit(Duration::from_millis(3));
    let body = async {
        block_in_place(|| {
            let slow = async { block() }.in_context(LogContext::new("inside"));
            tokio::runtime::Handle::current().block_on(slow);
        });
    };
    run(&runtime, body.in_context(LogContext::new("GET-1")));
    assert_eq!(test.supervisor().slow_polls(), SlowPolls::default());
}

#[test]
fn what_blocks_beside_a_part_that_may_is_reported() {
    with_limit(|runtime, test| {
        let body = async {
            block_in_place(block);
            block();
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        assert_eq!(test.supervisor().slow_polls().blocked, 1);
    });
}

#[test]
fn a_thread_that_runs_no_executor_may_take_its_time() {
    let test = logcontext::testing::start();
    test.supervisor().set_slow_poll_limit(Duration::from_millis(3));
    let body = LogContext::new("thread").scope(|| {
        preserve_fn(|| {
            let slow = async { block() }.in_context(LogContext::new("polled by hand"));
            assert!(common::poll_once(std::pin::pin!(slow)).is_ready());
        })
    });
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        threads.spawn(|| {
            test.thread_start()();
            body();
        });
    });
    assert_eq!(test.supervisor().slow_polls(), SlowPolls::default());
}

#[test]
fn a_flood_of_slow_polls_is_counted_whole_and_logged_in_part() {
    let test = logcontext::testing::start();
    let runtime = test.current_thread();
    test.supervisor().set_slow_poll_limit(Duration::ZERO);
    for _ in 0..15 {
        run(
            &runtime,
            async { std::thread::sleep(Duration::from_millis(5)) }.in_context(LogContext::new("GET-1")),
        );
    }
    let slow = test.supervisor().slow_polls();
    assert_eq!((slow.blocked, slow.burned), (15, 0));
    assert_eq!(warnings(&test, "blocked the executor").len(), 10);
}

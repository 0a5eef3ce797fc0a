//! Finished means finished: what enters a context afterwards is charged, and reported once with its origin, unless
//! it follows rightly.
#![cfg(feature = "tokio")]
#![expect(clippy::async_yields_async, reason = "what is started inside is awaited outside")]
#![expect(clippy::disallowed_methods, reason = "what other libraries spawn is given its context here")]
mod common;

use std::future::pending;
use std::time::Duration;

use common::{BURST, Seen, assert_bursts, burn, here, on_both, panic_message, run};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::testing::Test;
use logcontext::{FutureExt, LogContext, current_context, preserve_fn, run_in_background, spawn_blocking};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// So many bursts were charged after the context had finished.
#[track_caller]
fn assert_after_finish(context: &LogContext, bursts: u64) {
    let Some(cpu) = context.cpu_after_finish() else { return };
    let charged = cpu.as_nanos() as f64 / BURST as f64;
    assert!((bursts as f64 - 0.1..bursts as f64 + 0.4).contains(&charged), "{context}: {charged:.2} bursts");
}

/// The one report of late work: this context's, started at this line.
#[track_caller]
fn assert_late_once(test: &Test, context: &LogContext, line: u32) {
    let reports = test.take(DiagnosticKind::FinishedRestarted);
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(&reports[0].context, context);
    let origin = reports[0].origin.unwrap();
    assert!(origin.file().ends_with("late_work.rs") && origin.line() == line, "{origin}");
    let warnings = test.records_at(tracing::Level::WARN);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].field("started_at").unwrap().contains(&format!("late_work.rs:{line}:")));
}

#[test]
fn work_that_outlives_its_context_is_charged_and_reported_once_with_the_line_that_started_it() {
    on_both(|runtime, test| {
        let request = LogContext::new("GET-1");
        let (go_on, wait) = oneshot::channel::<()>();
        let late = async move {
            wait.await.unwrap();
            for _ in 0..3 {
                burn(BURST);
                yield_now().await;
            }
            here()
        };
        let (late, line) = request.scope(|| (late.in_current_context(), line!()));
        let task = runtime.spawn(late);
        run(runtime, async { burn(BURST) }.in_context(request.clone()));
        let at_finish = request.finish();
        assert!(request.is_finished());
        go_on.send(()).unwrap();
        assert_eq!(runtime.block_on(task).unwrap(), "GET-1");
        assert_late_once(test, &request, line);
        assert_bursts(&request, 4);
        assert_after_finish(&request, 3);
        assert!(request.usage().cpu() >= at_finish.cpu());
    });
}

#[test]
fn every_way_in_is_late_once_the_context_has_finished() {
    let ways: [fn(&LogContext) -> u32; 4] = [
        |ctx| {
            let (_, line) = (ctx.scope(|| burn(BURST)), line!());
            line
        },
        |ctx| {
            let (guard, line) = (ctx.enter(), line!());
            burn(BURST);
            drop(guard);
            line
        },
        |ctx| {
            let (before, line) = (logcontext::set_current_context(ctx.clone()), line!());
            burn(BURST);
            logcontext::set_current_context(before);
            line
        },
        |ctx| {
            let mut future = Box::pin(async { burn(BURST) }.in_context(ctx.clone()));
            let line = line!() - 1;
            assert!(common::poll_once(future.as_mut()).is_ready());
            line
        },
    ];
    for way in ways {
        let test = logcontext::testing::start();
        let request = LogContext::new("GET-1");
        request.finish();
        let line = way(&request);
        way(&request);
        assert_late_once(&test, &request, line);
        assert_after_finish(&request, 2);
    }
}

#[test]
fn a_callback_that_comes_late_is_reported_with_the_line_that_made_it() {
    let test = logcontext::testing::start();
    let request = LogContext::new("GET-1");
    let (callback, line) = request.scope(|| (preserve_fn(here), line!()));
    request.finish();
    assert_eq!(callback(), "GET-1");
    assert_late_once(&test, &request, line);
}

#[test]
fn a_part_of_what_has_finished_is_late_too() {
    let test = logcontext::testing::start();
    let request = LogContext::new("GET-1");
    let lookup = request.nested("lookup");
    request.finish();
    let (_, line) = (lookup.scope(|| burn(BURST)), line!());
    assert_late_once(&test, &lookup, line);
    assert!(!lookup.is_finished());
    assert_after_finish(&request, 1);
}

#[test]
fn a_part_that_has_finished_leaves_its_whole_in_flight() {
    let test = logcontext::testing::start();
    let request = LogContext::new("GET-1");
    let lookup = request.nested("lookup");
    lookup.finish();
    request.scope(|| burn(BURST));
    assert!(!request.is_finished());
    let ((), line) = (lookup.scope(|| ()), line!());
    assert_late_once(&test, &lookup, line);
}

#[test]
fn late_work_inside_another_context_is_late_all_the_same() {
    let test = logcontext::testing::start();
    let (request, other) = (LogContext::new("GET-1"), LogContext::new("other"));
    request.finish();
    let line = other.scope(|| {
        let ((), line) = (request.scope(|| ()), line!());
        line
    });
    assert_late_once(&test, &request, line);
}

#[test]
fn what_is_still_running_when_its_context_finishes_goes_on_to_its_next_await() {
    on_both(|runtime, test| {
        let request = LogContext::new("GET-1");
        let body = async {
            burn(BURST);
            current_context().finish();
            burn(BURST);
        };
        run(runtime, body.in_context(request.clone()));
        assert!(test.reports().is_empty());
        assert_after_finish(&request, 1);
    });
}

#[test]
fn a_follower_goes_on_unreported_and_is_counted_as_after_the_finish() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let (go_on, wait) = oneshot::channel::<()>();
        let (go_on_too, wait_too) = std::sync::mpsc::channel::<()>();
        let (tell, told) = oneshot::channel();
        let start = async {
            let work = run_in_background(async move {
                burn(BURST);
                yield_now().await;
                tell.send(()).unwrap();
                wait.await.unwrap();
                burn(BURST);
                yield_now().await;
                burn(BURST);
                here()
            });
            let blocking = spawn_blocking(move || {
                wait_too.recv().unwrap();
                burn(BURST);
                here()
            });
            // Polled by somebody else, as a lookup that others wait for.
            let shared = async {
                yield_now().await;
                burn(BURST);
                here()
            };
            (work, blocking, shared.following(current_context()))
        };
        let (work, blocking, shared) = run(runtime, start.in_context(request.clone()));
        runtime.block_on(told).unwrap();
        request.finish();
        go_on.send(()).unwrap();
        go_on_too.send(()).unwrap();
        assert_eq!(run(runtime, work).as_deref(), Ok("GET-1"));
        assert_eq!(run(runtime, blocking).as_deref(), Ok("GET-1"));
        assert_eq!(LogContext::new("waiter").scope(|| runtime.block_on(shared)), "GET-1");
        assert_bursts(&request, 5);
        assert_after_finish(&request, 4);
    });
}

#[test]
fn inside_a_follower_nothing_is_late() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let (go_on, wait) = oneshot::channel::<()>();
        let start = async {
            run_in_background(async move {
                wait.await.unwrap();
                let ctx = current_context();
                assert!(ctx.is_finished());
                ctx.nested("lookup").scope(|| assert_eq!(here(), "GET-1-lookup"));
                async { yield_now().await }.in_context(ctx.nested("rows")).await;
                async { yield_now().await }.in_current_context().await;
                logcontext::measure("block", yield_now()).await;
                preserve_fn(|| ())();
                drop(ctx.enter());
                let further = run_in_background(async { here() });
                assert_eq!(further.await.as_deref(), Ok("GET-1"));
                LogContext::sentinel().scope(|| assert!(current_context().is_sentinel()));
                assert_eq!(here(), "GET-1");
            })
        };
        let work = run(runtime, start.in_context(request.clone()));
        request.finish();
        go_on.send(()).unwrap();
        run(runtime, work).unwrap();
    });
}

#[test]
fn a_drop_after_the_finish_is_not_late() {
    on_both(|runtime, _| {
        let (request, seen) = (LogContext::new("GET-1"), Seen::default());
        let held = seen.on_drop();
        let left = async move {
            let _held = held;
            pending::<()>().await;
        };
        let mut left = Box::pin(left.in_context(request.clone()));
        runtime.block_on(async { assert!(futures_util::poll!(left.as_mut()).is_pending()) });
        request.finish();
        drop(left);
        assert_eq!(seen.all(), ["GET-1"]);
        assert_after_finish(&request, 1);
    });
}

#[test]
fn a_follower_that_panics_or_fails_after_the_finish_is_logged_and_not_late() {
    on_both(|runtime, test| {
        let request = LogContext::new("GET-1");
        let (go_on, wait) = oneshot::channel::<()>();
        let start = async {
            run_in_background(async move {
                wait.await.unwrap();
                panic_message(|| current_context().scope(|| panic!("inside")));
                Err::<(), _>("disk full")
            })
        };
        let work = run(runtime, start.in_context(request.clone()));
        request.finish();
        go_on.send(()).unwrap();
        assert_eq!(run(runtime, work), Ok(Err("disk full")));
        assert_eq!(test.records_at(tracing::Level::ERROR).len(), 1);
        assert_eq!(
            request.cpu_after_finish().map(|cpu| cpu > Duration::ZERO),
            request.usage().cpu().map(|_| true)
        );
    });
}

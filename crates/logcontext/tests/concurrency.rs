//! Work that its caller's end does not cancel, and a timeout that says whose it was.
#![cfg(feature = "tokio")]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{BURST, OnDrop, Seen, assert_at, assert_bursts, burn, here, line, on_both, poll_once, run};
use logcontext::concurrency::{TimedOut, gather, shield, timeout};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::testing::Test;
use logcontext::{FutureExt, LogContext, current_context, preserve_fn};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tracing::Level;

/// Goes on until nothing runs in the background.
async fn rest(test: &Test) {
    while !test.supervisor().running().is_empty() {
        yield_now().await;
    }
}

/// Polls the future once in this context, drops it there, and runs what goes on to its end.
fn abandon<F: Future + Send>(runtime: &Runtime, context: &LogContext, future: F, go_on: oneshot::Sender<()>) {
    runtime.block_on(
        async {
            let mut future = Box::pin(future);
            assert!(poll_once(future.as_mut()).is_pending());
            drop(future);
            assert_eq!(current_context(), *context);
            go_on.send(()).expect("the work goes on");
        }
        .in_context(context.clone()),
    );
}

#[test]
fn shielded_work_is_part_of_its_caller_as_long_as_that_is_there() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let supervisor = test.supervisor().clone();
        let body = async move {
            let answer = shield(async move {
                yield_now().await;
                assert!(supervisor.running().is_empty(), "no task");
                (here(), Err::<(), _>("no"))
            });
            assert_eq!(answer.await, ("GET-1".to_owned(), Err("no")));
            assert_eq!(shield(async { Err::<(), _>("the caller's") }).await, Err("the caller's"));
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request));
        assert!(test.records_at(Level::ERROR).is_empty());
    });
}

#[test]
fn shielded_work_goes_on_as_a_follower_when_its_caller_is_cancelled() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let (seen, (go_on, gone)) = (Seen::default(), oneshot::channel());
        let dropped = seen.on_drop();
        let (note, context) = (seen.clone(), request.clone());
        let work = async move {
            let _dropped = dropped;
            gone.await.unwrap();
            assert!(context.is_finished());
            note.note();
            burn(BURST);
        };
        runtime.block_on(async {
            let mut shielded = request.scope(|| Box::pin(shield(work)));
            assert!(poll_once(shielded.as_mut()).is_pending());
            request.finish();
            LogContext::new("canceller").scope(|| {
                drop(shielded);
                assert_eq!(here(), "canceller");
            });
            let running = test.supervisor().running();
            assert_eq!((running.len(), running[0].context == request), (1, true));
            go_on.send(()).unwrap();
            rest(test).await;
        });
        assert_eq!(seen.all(), ["GET-1", "GET-1"]);
        assert_bursts(&request, 2);
        assert!(test.records_at(Level::ERROR).is_empty());
    });
}

#[test]
fn shielded_work_that_has_not_begun_does_not_begin_and_drops_in_its_context() {
    on_both(|runtime, test| {
        let (seen, request) = (Seen::default(), LogContext::new("GET-1"));
        let dropped = seen.on_drop();
        let shielded = request.scope(|| {
            shield(async move {
                let _dropped = dropped;
                unreachable!("nobody has polled it");
            })
        });
        let _inside = runtime.enter();
        drop::<logcontext::concurrency::Shielded<_>>(to_unit(shielded));
        assert_eq!(seen.all(), ["GET-1"]);
        assert!(test.supervisor().running().is_empty());
    });
}

/// Says what it answers, where it never does.
fn to_unit<F: Future<Output = ()> + Send>(
    future: logcontext::concurrency::Shielded<F>,
) -> logcontext::concurrency::Shielded<F> {
    future
}

#[test]
fn a_failure_that_nobody_is_left_to_hear_of_is_logged_once() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let (go_on, gone) = oneshot::channel();
        let shielded = request.scope(|| {
            shield(async move {
                gone.await.unwrap();
                Err::<(), _>("oh no")
            })
        });
        let started_at = line(-5);
        abandon(runtime, &request, shielded, go_on);
        runtime.block_on(rest(test));
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((errors[0].field("error"), &errors[0].context), (Some("oh no"), &request));
        assert_at(&errors[0], "started_at", &started_at);
    });
}

#[test]
fn shielded_work_that_panics_is_its_callers_and_does_not_go_on() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let body = async {
            let work = async {
                yield_now().await;
                if true {
                    panic!("oh no");
                }
            };
            let guarded = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(shield(work)));
            assert!(guarded.await.is_err());
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request.clone()));
        assert!(test.supervisor().running().is_empty());
        assert!(test.records_at(Level::ERROR).is_empty(), "whoever has caught it has it");

        let (go_on, gone) = oneshot::channel();
        let shielded = request.scope(|| {
            shield(async move {
                gone.await.unwrap();
                panic!("with nobody there");
            })
        });
        abandon(runtime, &request, to_unit(shielded), go_on);
        runtime.block_on(rest(test));
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].context, request);
    });
}

#[test]
fn shielded_work_dropped_on_a_thread_of_another_kind_goes_on_where_it_was_begun() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let (go_on, gone) = oneshot::channel();
        let done = Arc::new(AtomicUsize::new(0));
        let mine = Arc::clone(&done);
        let work = async move {
            gone.await.unwrap();
            mine.fetch_add(1, SeqCst);
        };
        let mut shielded = request.scope(|| Box::pin(shield(work)));
        runtime.block_on(async { assert!(poll_once(shielded.as_mut()).is_pending()) });
        let body = request.scope(|| preserve_fn(move || drop(shielded)));
        let start = test.thread_start();
        #[expect(clippy::disallowed_methods, reason = "the body brings its context")]
        let thread = std::thread::spawn(move || {
            start();
            body();
        });
        thread.join().unwrap();
        go_on.send(()).unwrap();
        runtime.block_on(rest(test));
        assert_eq!(done.load(SeqCst), 1);
    });
}

#[test]
fn work_shielded_in_the_sentinel_goes_on_and_is_reported() {
    on_both(|runtime, test| {
        let (go_on, gone) = oneshot::channel();
        let (done, told) = oneshot::channel();
        let work = async move {
            gone.await.unwrap();
            done.send(here()).unwrap();
        };
        let mut shielded = Box::pin(shield(work));
        runtime.block_on(async {
            assert!(poll_once(shielded.as_mut()).is_pending());
            drop(shielded);
            go_on.send(()).unwrap();
            assert_eq!(told.await.unwrap(), "sentinel");
        });
        assert_eq!(test.take(DiagnosticKind::BackgroundFromSentinel).len(), 1);
    });
}

#[test]
fn a_shutdown_waits_for_shielded_work_until_its_deadline() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let seen = Seen::default();
        let (in_time, late) = (seen.on_drop(), seen.on_drop());
        let (go_on, gone) = oneshot::channel::<()>();
        runtime.block_on(async {
            let [mut quick, mut slow] = request.scope(|| {
                let quick: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                    let _in_time = in_time;
                    gone.await.unwrap();
                });
                let slow: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                    let _late = late;
                    std::future::pending::<()>().await;
                });
                [quick, slow].map(|work| Box::pin(shield(work)))
            });
            assert!(poll_once(quick.as_mut()).is_pending() && poll_once(slow.as_mut()).is_pending());
            drop((quick, slow));
            go_on.send(()).unwrap();
            let shutdown = test.supervisor().shutdown(Duration::from_millis(100)).await;
            assert_eq!(shutdown.aborted.len(), 1);
            // From now on nothing goes on.
            let mut refused = request.scope(|| Box::pin(shield(std::future::pending::<()>())));
            assert!(poll_once(refused.as_mut()).is_pending());
            drop(refused);
            assert!(test.supervisor().running().is_empty());
        });
        assert_eq!(seen.all(), ["GET-1", "GET-1"]);
    });
}

#[test]
fn gathered_work_answers_in_its_order_each_in_its_context() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let body = async {
            let parts = ["a", "b", "c"].map(|name| current_context().nested(name));
            let each = parts.into_iter().enumerate().map(|(i, part)| {
                let work = async move {
                    for _ in 0..3 - i {
                        yield_now().await;
                    }
                    Ok::<_, String>(here())
                };
                work.in_context(part)
            });
            let names = gather(each).await;
            assert_eq!(names.unwrap(), ["GET-1-a", "GET-1-b", "GET-1-c"]);
            let none: [std::future::Ready<Result<(), String>>; 0] = [];
            assert_eq!(gather(none).await, Ok(vec![]));
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request));
    });
}

/// Works for so many turns; then succeeds or fails. Counts those that came to their end.
async fn work(
    turns: usize,
    result: Result<u32, &'static str>,
    ended: Arc<AtomicUsize>,
) -> Result<u32, &'static str> {
    for _ in 0..turns {
        yield_now().await;
    }
    ended.fetch_add(1, SeqCst);
    result
}

#[test]
fn one_that_fails_cancels_none_of_the_others_and_the_first_error_wins() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let ended = Arc::new(AtomicUsize::new(0));
        let mine = Arc::clone(&ended);
        let body = async move {
            let each = [(9, Ok(1)), (5, Err("second")), (2, Err("first")), (7, Err("third"))];
            let result = gather(each.map(|(turns, result)| work(turns, result, Arc::clone(&mine)))).await;
            assert_eq!(result, Err("first"));
            assert_eq!(mine.load(SeqCst), 4, "answered when all have ended");
        };
        run(runtime, body.in_context(request.clone()));
        // What could not be answered is on the log; what was, is the caller's.
        let errors = test.records_at(Level::ERROR);
        let texts: Vec<_> = errors.iter().map(|record| record.field("error").unwrap()).collect();
        assert_eq!(texts, ["second", "third"]);
        assert!(
            errors.iter().all(|record| record.context == request && record.message == "gathered work failed")
        );
    });
}

#[test]
fn gathered_work_goes_on_when_its_caller_is_cancelled_and_each_failure_is_logged_at_once() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let (at_once, first) = oneshot::channel::<()>();
        let (later, last) = oneshot::channel::<()>();
        let ended = Arc::new(AtomicUsize::new(0));
        let each = [Some(first), Some(last), None].map(|go_on| {
            let ended = Arc::clone(&ended);
            async move {
                let Some(go_on) = go_on else { return Err("before") };
                go_on.await.unwrap();
                ended.fetch_add(1, SeqCst);
                Err::<(), _>("after")
            }
        });
        runtime.block_on(async {
            let mut gathered = request.scope(|| Box::pin(gather(each)));
            assert!(poll_once(gathered.as_mut()).is_pending());
            assert!(test.records_at(Level::ERROR).is_empty());
            request.finish();
            drop(gathered);
            let errors = || -> Vec<String> {
                let records = test.records_at(Level::ERROR);
                assert!(records.iter().all(|record| record.context == request));
                records.iter().map(|record| record.field("error").unwrap().to_owned()).collect()
            };
            assert_eq!(errors(), ["before"], "it would have been answered");
            at_once.send(()).unwrap();
            while errors().len() < 2 {
                yield_now().await;
            }
            assert_eq!(ended.load(SeqCst), 1, "logged before the others have ended");
            later.send(()).unwrap();
            rest(test).await;
            assert_eq!(errors(), ["before", "after", "after"]);
        });
    });
}

#[test]
fn one_that_panics_lets_the_others_end_and_then_goes_on_in_the_caller() {
    on_both(|runtime, test| {
        let request = test.supervisor().context("GET-1").start();
        let ended = Arc::new(AtomicUsize::new(0));
        let (mine, panics) = (Arc::clone(&ended), || async {
            yield_now().await;
            if true {
                panic!("oh no");
            }
            Ok::<u32, &str>(0)
        });
        let body = async move {
            type Work = std::pin::Pin<Box<dyn Future<Output = Result<u32, &'static str>> + Send>>;
            let each: [Work; 3] = [Box::pin(work(9, Ok(1), mine)), Box::pin(panics()), Box::pin(panics())];
            let guarded = std::panic::AssertUnwindSafe(gather(each));
            assert!(futures_util::FutureExt::catch_unwind(guarded).await.is_err());
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request.clone()));
        assert_eq!(ended.load(SeqCst), 1);
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1, "the second panic: {errors:?}");
        assert!(errors[0].message.contains("panicked"));
    });
}

#[test]
fn gathered_work_that_nobody_has_polled_has_not_begun() {
    on_both(|runtime, test| {
        let _inside = runtime.enter();
        drop(gather([async { Err::<(), _>(unreachable_error()) }]));
        assert!(test.supervisor().running().is_empty());
    });
}

fn unreachable_error() -> &'static str {
    panic!("nobody has polled it")
}

#[test]
fn a_timeout_says_after_how_long_and_in_what_context() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let body = async {
            let error = timeout(Duration::from_millis(2), std::future::pending::<()>()).await.unwrap_err();
            assert_eq!(error.to_string(), "timed out after 2ms in GET-1");
            assert_eq!((error.after(), error.context()), (Duration::from_millis(2), "GET-1"));
            let error: &dyn std::error::Error = &error;
            assert!(error.downcast_ref::<TimedOut>().is_some());
            let part = current_context().nested("part");
            let nested = timeout(Duration::ZERO, std::future::pending::<()>()).in_context(part).await;
            assert_eq!(nested.unwrap_err().context(), "GET-1-part");
            assert_eq!(timeout(Duration::from_secs(60), async { here() }).await.as_deref(), Ok("GET-1"));
            assert_eq!(timeout(Duration::ZERO, async { 1 }).await, Ok(1), "what is ready is in time");
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request));
    });
}

#[test]
fn what_timed_out_is_gone_in_its_own_context_before_its_caller_hears_of_it() {
    on_both(|runtime, _| {
        let (request, part) = (LogContext::new("GET-1"), LogContext::new("part"));
        let seen = Seen::default();
        let (dropped, noted) = (seen.on_drop(), seen.clone());
        let work = async move {
            let _dropped: OnDrop<_> = dropped;
            std::future::pending::<()>().await;
        };
        let work = work.in_context(part.clone());
        let body = async move {
            let mut given = Box::pin(timeout(Duration::from_millis(2), work));
            assert!(given.as_mut().await.is_err());
            // The timeout is still there, the work is not.
            assert_eq!(noted.all(), ["part"]);
            drop(given);
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request.clone()));
        assert_bursts(&part, 1);
        assert_bursts(&request, 0);
    });
}

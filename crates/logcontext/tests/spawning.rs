//! Fired off in the caller's context: `run_in_background`, `spawn_blocking`, `block_in_place`.
#![cfg(feature = "tokio")]
mod common;

use std::fmt::{self, Display};
use std::future::pending;

use common::{BURST, assert_at, assert_bursts, assert_bursts_and_a_panic, burn, here, line, on_both, run};
use logcontext::testing::Record;
use logcontext::{
    FutureExt, LogContext, Lost, Outcome, block_in_place, current_context, run_in_background, spawn_blocking,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tracing::Level;

#[test]
fn background_work_is_in_its_callers_context_and_leaves_the_caller_alone() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let body = async {
            let work = run_in_background(async {
                burn(BURST);
                yield_now().await;
                burn(BURST);
                here()
            });
            assert_eq!(here(), "GET-1", "at once");
            assert_eq!(work.context().name(), "GET-1");
            yield_now().await;
            assert_eq!(here(), "GET-1", "and later");
            assert_eq!(work.await.as_deref(), Ok("GET-1"));
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request.clone()));
        assert_bursts(&request, 2);
    });
}

#[test]
fn a_handle_completes_when_the_work_is_really_done_and_dropping_it_is_not_the_end() {
    on_both(|runtime, _| {
        let body = async {
            let (go_on, wait) = oneshot::channel::<()>();
            let (done, is_done) = oneshot::channel();
            drop(run_in_background(async move {
                wait.await.unwrap();
                done.send(here()).unwrap();
            }));
            go_on.send(()).unwrap();
            assert_eq!(is_done.await.unwrap(), "GET-1");

            let (go_on, wait) = oneshot::channel::<()>();
            let work = run_in_background(async move { wait.await.is_ok() });
            yield_now().await;
            assert!(!work.is_finished());
            go_on.send(()).unwrap();
            assert_eq!(work.await, Ok(true));
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
    });
}

/// The one error that was logged: whole, and by whom it says.
#[track_caller]
fn the_one_error(records: &[Record], how: &str, error: &str, started_at: &str) {
    let errors: Vec<_> = records.iter().filter(|record| record.level <= Level::WARN).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let record = errors[0];
    assert_eq!(record.level, Level::ERROR);
    assert_eq!(record.message, how);
    assert_eq!(record.context.name(), "GET-1");
    assert_eq!((record.field("name"), record.field("error")), (Some("GET-1"), Some(error)));
    assert!(record.field("duration").is_some());
    assert!(record.field("cpu").is_some() || current_context().usage().cpu().is_none());
    assert_at(record, "started_at", started_at);
}

#[test]
fn a_failure_is_logged_at_once_and_once_whether_or_not_anybody_awaits_it() {
    on_both(|runtime, test| {
        for awaited in [true, false] {
            let logged_before = test.records().len();
            let body = async move {
                let (tell, told) = oneshot::channel::<()>();
                let work = run_in_background(async move {
                    // Told when the work is gone: it cannot be logged later than at its end.
                    let _at_the_end = tell;
                    Err::<(), _>("disk full")
                });
                let started_at = line(-5);
                told.await.unwrap_err();
                if awaited {
                    assert_eq!(work.await, Ok(Err("disk full")));
                } else {
                    while !work.is_finished() {
                        yield_now().await;
                    }
                }
                started_at
            };
            let started_at: String = run(runtime, body.in_context(LogContext::new("GET-1")));
            the_one_error(
                &test.records()[logged_before..],
                "background work failed",
                "disk full",
                &started_at,
            );
        }
    });
}

#[test]
fn a_failure_is_on_the_log_before_its_handle_tells_of_it() {
    on_both(|runtime, test| {
        let body = async {
            run_in_background(async { Err::<(), _>("disk full") }).await.unwrap().unwrap_err();
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        assert_eq!(test.records_at(Level::ERROR).len(), 1);
    });
}

#[test]
fn a_panic_is_logged_once_told_to_the_handle_and_harms_nobody_else() {
    on_both(|runtime, test| {
        let body = async {
            let (ask, mut asked) = mpsc::channel::<oneshot::Sender<String>>(1);
            let neighbour = run_in_background(async move {
                while let Some(answer) = asked.recv().await {
                    answer.send(here()).unwrap();
                }
            });
            let work = run_in_background(async {
                yield_now().await;
                assert!(here() != "GET-1", "nobody there");
            });
            let started_at = line(-4);
            let lost = work.await.unwrap_err();
            assert_eq!(lost, Lost::Panicked("nobody there".to_owned()));
            assert_eq!(lost.to_string(), "panicked: nobody there");
            assert_eq!(here(), "GET-1");
            let (answer, answered) = oneshot::channel();
            ask.send(answer).await.unwrap();
            assert_eq!(answered.await.unwrap(), "GET-1");
            drop(ask);
            neighbour.await.unwrap();
            started_at
        };
        let started_at = run(runtime, body.in_context(LogContext::new("GET-1")));
        the_one_error(&test.records(), "background work panicked", "nobody there", &started_at);
        assert_eq!(test.supervisor().panics(), 1);
    });
}

#[test]
fn a_panic_that_was_caught_is_counted_when_it_is_reported_and_only_then() {
    let test = logcontext::testing::start();
    let mut panic = logcontext::catch_panic(|| panic!("no")).unwrap_err();
    assert_eq!(test.supervisor().panics(), 0);
    panic.report();
    panic.report();
    assert_eq!(test.supervisor().panics(), 1);
}

#[test]
fn what_went_well_or_was_cancelled_is_no_error() {
    on_both(|runtime, test| {
        let body = async {
            assert_eq!(run_in_background(async { Ok::<_, fmt::Error>(17) }).await, Ok(Ok(17)));
            assert_eq!(run_in_background(async { Some("text") }).await, Ok(Some("text")));
            let endless = run_in_background(pending::<()>());
            endless.abort();
            assert_eq!(endless.await, Err(Lost::Cancelled));
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        assert!(test.records().iter().all(|record| record.level == Level::DEBUG), "{:?}", test.records());
    });
}

/// An answer that says itself whether it is a failure.
#[derive(Debug)]
struct Answer(u16);

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} in {}", self.0, here())
    }
}

impl Outcome for Answer {
    fn failure(&self) -> Option<&dyn Display> {
        (self.0 >= 500).then_some(self)
    }
}

#[test]
fn a_type_of_the_users_own_says_itself_what_counts_as_failure() {
    on_both(|runtime, test| {
        let body = async {
            run_in_background(async { Answer(200) }).await.unwrap();
            run_in_background(async { Answer(502) }).await.unwrap();
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].field("error"), Some("status 502 in GET-1"), "asked in the context");
    });
}

#[test]
fn blocking_work_is_in_its_callers_context_on_another_thread_and_charged_to_it() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let body = async {
            let name = spawn_blocking(|| {
                burn(BURST);
                LogContext::new("inside").scope(|| assert_eq!(here(), "inside"));
                here()
            });
            assert_eq!(here(), "GET-1");
            assert_eq!(name.await.as_deref(), Ok("GET-1"));
            assert_eq!(here(), "GET-1");
            // The thread it ran on is nobody's again.
            let next = LogContext::new("next").scope(|| spawn_blocking(here));
            assert_eq!(next.await.as_deref(), Ok("next"));
        };
        run(runtime, body.in_context(request.clone()));
        assert_bursts(&request, 1);
    });
}

#[test]
fn blocking_work_that_fails_or_panics_is_logged_once() {
    on_both(|runtime, test| {
        let body = async {
            let failed = spawn_blocking(|| Err::<(), _>("disk full"));
            let failed_at = line(-1);
            assert_eq!(failed.await, Ok(Err("disk full")));
            let panicked = spawn_blocking(|| panic!("oh no"));
            let panicked_at = line(-1);
            assert_eq!(panicked.await, Err::<(), _>(Lost::Panicked("oh no".to_owned())));
            (failed_at, panicked_at)
        };
        let (failed_at, panicked_at) = run(runtime, body.in_context(LogContext::new("GET-1")));
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 2, "{errors:?}");
        the_one_error(&errors[..1], "background work failed", "disk full", &failed_at);
        the_one_error(&errors[1..], "background work panicked", "oh no", &panicked_at);
    });
}

#[test]
fn blocking_in_place_stays_in_the_context_on_panic_too() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let body = async {
            let name = block_in_place(|| {
                burn(BURST);
                here()
            });
            assert_eq!((name.as_str(), here().as_str()), ("GET-1", "GET-1"));
            common::panic_message(|| block_in_place(|| panic!("oh no")));
            assert_eq!(here(), "GET-1");
            yield_now().await;
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request.clone()));
        assert_bursts_and_a_panic(&request, 1);
    });
}

//! Background processes: work that stands for itself, in a context of its own.
#![cfg(feature = "tokio")]
#![expect(clippy::async_yields_async, reason = "what is started inside is awaited outside")]
mod common;

use std::future::pending;
use std::time::Duration;

use common::{BURST, Seen, assert_at, assert_bursts, burn, here, line, on_both, run};
use logcontext::testing::Test;
use logcontext::{
    ContextKind, Ending, FutureExt, LabelTotals, LogContext, Lost, Request, Supervisor, background,
    current_context, run_in_background,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tracing::Level;

fn request() -> LogContext {
    LogContext::builder("GET-1").request(Request::new("GET", "/presence/alice")).start()
}

fn totals_of(test: &Test, label: &str) -> LabelTotals {
    let totals = test.supervisor().totals();
    totals.into_iter().find(|row| row.label.as_deref() == Some(label)).unwrap()
}

#[test]
fn a_process_is_in_a_context_of_its_own_linked_to_its_starter_and_not_charged_to_it() {
    on_both(|runtime, test| {
        let request = request();
        let body = async {
            let process = background::run("prune_cache", async {
                assert_eq!(here(), "prune_cache-0");
                assert!(current_context().request().is_none());
                burn(BURST);
                yield_now().await;
                burn(BURST);
                here()
            });
            assert_eq!(here(), "GET-1", "at once");
            yield_now().await;
            assert_eq!(here(), "GET-1", "and later");
            let context = process.context().clone();
            assert_eq!(process.await.as_deref(), Ok("prune_cache-0"));
            assert_eq!(here(), "GET-1");
            context
        };
        let process = run(runtime, body.in_context(request.clone()));
        assert_eq!(process.started_by(), Some("GET-1"));
        assert_eq!((process.kind(), process.ending()), (ContextKind::Background, Some(Ending::Ok)));
        assert!(process.parent().is_sentinel());
        assert_bursts(&process, 2);
        assert_bursts(&request, 0);
        let started = &test.records_at(Level::DEBUG)[0];
        assert_eq!(started.context.name(), "GET-1", "the link, in the starter's log");
        assert_eq!(started.field("process"), Some("prune_cache-0"));
    });
}

#[test]
fn processes_are_numbered_by_name_and_know_the_line_that_started_them() {
    on_both(|runtime, _| {
        run(runtime, async {
            for n in 0..3 {
                let (process, line) = (background::run("prune_cache", async { here() }), line!());
                assert_eq!(process.context().origin().unwrap().line(), line);
                assert!(process.context().started_by().is_none(), "started from nowhere");
                assert_eq!(process.await.unwrap(), format!("prune_cache-{n}"));
            }
            assert_eq!(background::run("reap", async { here() }).await.unwrap(), "reap-0");
        });
    });
}

#[test]
fn a_process_goes_on_when_its_starter_has_finished_and_that_is_not_late() {
    on_both(|runtime, _| {
        let request = request();
        let (go_on, wait) = oneshot::channel::<()>();
        let start = async {
            background::run("prune_cache", async move {
                wait.await.unwrap();
                burn(BURST);
                here()
            })
        };
        let process = run(runtime, start.in_context(request.clone()));
        request.finish();
        go_on.send(()).unwrap();
        assert_eq!(run(runtime, process).as_deref(), Ok("prune_cache-0"));
        assert_eq!(request.cpu_after_finish().unwrap_or_default(), Duration::ZERO);
    });
}

#[test]
fn what_a_process_puts_into_the_background_follows_it() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (go_on, wait) = oneshot::channel::<()>();
            let (tell, told) = oneshot::channel();
            let process = background::run("prune_cache", async move {
                let follower = run_in_background(async move {
                    wait.await.unwrap();
                    burn(BURST);
                    here()
                });
                tell.send(follower).is_ok()
            });
            let context = process.context().clone();
            process.await.unwrap();
            assert!(context.is_finished());
            go_on.send(()).unwrap();
            assert_eq!(told.await.unwrap().await.as_deref(), Ok("prune_cache-0"));
            assert_bursts(&context, 1);
            assert!(context.cpu_after_finish().is_none_or(|cpu| cpu.as_nanos() >= u128::from(BURST)));
        });
    });
}

#[test]
fn outcomes_are_told_apart() {
    on_both(|runtime, test| {
        let body = async {
            background::run("work", async { Ok::<(), String>(()) }).await.unwrap().unwrap();
            background::run("work", async { Err::<(), _>("disk full") }).await.unwrap().unwrap_err();
            let panicked = background::run("work", async { panic!("oh no") });
            assert_eq!(panicked.await, Err::<(), _>(Lost::Panicked("oh no".to_owned())));
            let cancelled = background::run("work", pending::<()>());
            cancelled.abort();
            assert_eq!(cancelled.await, Err(Lost::Cancelled));
            background::run("work", pending::<()>())
        };
        let in_flight = run(runtime, body);
        let row = totals_of(test, "work");
        assert_eq!(row.kind, ContextKind::Background);
        assert_eq!((row.started, row.in_flight), (5, 1));
        assert_eq!((row.ok, row.failed, row.panicked, row.cancelled), (1, 1, 1, 1));
        in_flight.abort();
        assert_eq!(run(runtime, in_flight), Err(Lost::Cancelled));
        let row = totals_of(test, "work");
        assert_eq!((row.started, row.in_flight, row.cancelled), (5, 0, 2));
        // One error line for the failure and one for the panic; cancelled is no error.
        assert_eq!(test.records_at(Level::ERROR).len(), 2, "{:?}", test.records());
        assert_eq!(test.records_at(Level::WARN).len(), 0);
    });
}

#[test]
fn a_failure_names_process_context_starter_and_the_line_that_started_it() {
    on_both(|runtime, test| {
        let body = async {
            drop(background::run("prune_cache", async { Err::<(), _>("disk full") }));
            let line = line(-1);
            // Nobody awaits it: it is done when nothing runs any more.
            let running = current_context().supervisor();
            while !running.running().is_empty() {
                yield_now().await;
            }
            line
        };
        let line = run(runtime, body.in_context(request()));
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1);
        assert_eq!(
            (errors[0].context.name(), errors[0].field("name")),
            ("prune_cache-0", Some("prune_cache-0"))
        );
        assert_eq!(
            (errors[0].field("error"), errors[0].field("started_by")),
            (Some("disk full"), Some("GET-1"))
        );
        assert!(errors[0].field("duration").is_some());
        assert!(errors[0].field("cpu").is_some() || errors[0].context.usage().cpu().is_none());
        assert_at(&errors[0], "started_at", &line);
    });
}

#[test]
fn costs_are_totalled_by_name_current_at_every_reading() {
    on_both(|runtime, test| {
        let (reached, is_there) = oneshot::channel();
        let (go_on, wait) = oneshot::channel::<()>();
        let process = runtime.block_on(async {
            background::run("work", async { current_context().record_db_wait(Duration::from_millis(5)) })
                .await
                .unwrap();
            let process = background::run("work", async move {
                burn(BURST);
                current_context().record_db_transaction(Duration::from_millis(3));
                reached.send(()).unwrap();
                wait.await.unwrap();
            });
            is_there.await.unwrap();
            process
        });
        let row = totals_of(test, "work");
        assert_eq!((row.started, row.in_flight, row.ok), (2, 1, 1));
        assert_eq!((row.usage.db_txn_count, row.usage.db_wait()), (1, Some(Duration::from_millis(5))));
        go_on.send(()).unwrap();
        run(runtime, process).unwrap();
        let row = totals_of(test, "work");
        assert_eq!((row.in_flight, row.ok), (0, 2));
        assert!(row.usage.cpu().is_none_or(|cpu| cpu.as_nanos() >= u128::from(BURST) * 9 / 10));
    });
}

#[test]
fn a_process_belongs_to_the_supervisor_of_the_context_that_starts_it() {
    on_both(|runtime, test| {
        let service = Supervisor::new("presence");
        let startup = service.context("startup").start();
        let process = run(runtime, async { background::run("reap", pending::<()>()) }.in_context(startup));
        assert_eq!(process.context().supervisor(), service);
        assert_eq!(service.running().len(), 1);
        assert!(test.supervisor().running().is_empty());
        process.abort();
        assert_eq!(run(runtime, process), Err(Lost::Cancelled));
        assert!(service.running().is_empty());
    });
}

#[test]
fn what_a_process_holds_drops_in_its_context_before_it_counts_as_done() {
    on_both(|runtime, _| {
        run(runtime, async {
            let seen = Seen::default();
            let held = seen.on_drop();
            let process = background::run("work", async move {
                let _held = held;
                yield_now().await;
            });
            let context = process.context().clone();
            process.await.unwrap();
            assert_eq!(seen.all(), ["work-0"]);
            assert_bursts(&context, 1);
            assert!(context.cpu_after_finish().unwrap_or_default() < Duration::from_nanos(BURST / 2));
        });
    });
}

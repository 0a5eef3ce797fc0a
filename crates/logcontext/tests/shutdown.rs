//! The supervisor: what runs, how it is told to end, and what is named when it does not.
#![cfg(feature = "tokio")]
#![expect(clippy::async_yields_async, reason = "what is started inside is awaited outside")]
mod common;

use std::future::pending;
use std::time::Duration;

use common::{BURST, Seen, assert_at, assert_bursts, burn, here, line, on_both, paused, run};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{
    Ending, FutureExt, LogContext, Lost, Supervisor, background, run_in_background, spawn_blocking,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_runs_is_listed_with_context_name_cost_age_and_line() {
    on_both(|runtime, test| {
        let service = test.supervisor().clone();
        let body = async move {
            let (begin, begun) = oneshot::channel();
            let (end, ends) = oneshot::channel::<()>();
            let process = background::run("prune_cache", async move {
                burn(BURST);
                yield_now().await;
                begin.send(()).unwrap();
                ends.await.is_ok()
            });
            let process_line = line!() - 6;
            let (work, work_line) = (run_in_background(pending::<()>()), line!());
            begun.await.unwrap();

            let mut running = service.running();
            running.sort_by_key(|running| running.origin.line());
            assert_eq!(running.len(), 2);
            let (listed_process, listed_work) = (&running[0], &running[1]);
            assert_eq!(listed_process.name.as_ref(), "prune_cache");
            assert_eq!(&listed_process.context, process.context());
            assert_eq!(listed_process.origin.line(), process_line);
            assert!(listed_process.usage.cpu().is_none_or(|cpu| cpu.as_nanos() >= u128::from(BURST)));
            assert!(listed_process.age > Duration::ZERO);
            assert!(listed_process.to_string().starts_with("prune_cache-0 for "), "{listed_process}");
            assert_eq!((listed_work.name.as_ref(), listed_work.origin.line()), ("GET-1", work_line));

            end.send(()).unwrap();
            assert_eq!(process.await, Ok(true));
            assert_eq!(service.running().len(), 1, "what has ended is not listed");
            work.abort();
            assert_eq!(work.await, Err(Lost::Cancelled));
            assert!(service.running().is_empty());
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
    });
}

#[test]
fn a_shutdown_waits_for_what_ends_in_time() {
    paused(|test| {
        let service = test.supervisor().clone();
        async move {
            let process = background::run("save", async {
                sleep(5 * SECOND).await;
                "saved"
            });
            let started = Instant::now();
            let shutdown = service.shutdown(60 * SECOND).await;
            assert!(shutdown.aborted.is_empty());
            assert_eq!(started.elapsed().as_secs(), 5);
            assert_eq!(process.await, Ok("saved"));
            assert!(
                service.shutdown(SECOND).await.aborted.is_empty(),
                "a second time there is nothing to do"
            );
        }
    });
}

#[test]
fn what_does_not_end_by_the_deadline_is_aborted_and_named() {
    on_both(|runtime, test| {
        let service = test.supervisor().clone();
        let seen = Seen::default();
        let held = seen.on_drop();
        let (process, line) = run(runtime, async {
            let process = background::run("endless", async move {
                let _held = held;
                pending::<()>().await;
            });
            let started_at = line(-4);
            yield_now().await;
            (process, started_at)
        });
        let stopping = service.clone();
        let shutdown = run(runtime, async move { stopping.shutdown(Duration::from_millis(5)).await });
        assert_eq!(shutdown.aborted.len(), 1);
        assert_eq!(
            (shutdown.aborted[0].name.as_ref(), &shutdown.aborted[0].context),
            ("endless", process.context())
        );
        assert!(format!("{}:", shutdown.aborted[0].origin).starts_with(line.trim_end_matches(':')));
        assert!(service.running().is_empty(), "it has ended by now");
        assert_eq!(process.context().ending(), Some(Ending::Cancelled));
        assert_eq!(seen.all(), ["endless-0"]);
        assert_bursts(process.context(), 1);
        let context = process.context().clone();
        assert_eq!(run(runtime, process), Err(Lost::Cancelled));

        let warnings = test.records_at(Level::WARN);
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].field("context"), Some(context.name()));
        assert_at(&warnings[0], "started_at", &line);
        assert!(test.records_at(Level::ERROR).is_empty());
    });
}

#[test]
fn blocking_code_cannot_be_aborted_but_is_named() {
    let test = logcontext::testing::start();
    let runtime = test.current_thread();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let service = test.supervisor().clone();
    let body = async {
        let work = spawn_blocking(move || {
            let _ = released.recv();
            here()
        });
        let shutdown = service.shutdown(Duration::ZERO).await;
        assert_eq!(shutdown.aborted.len(), 1);
        assert_eq!(shutdown.aborted[0].name.as_ref(), "GET-1");
        drop(release);
        assert_eq!(work.await.as_deref(), Ok("GET-1"), "it goes on until it is done");
    };
    runtime.block_on(body.in_context(LogContext::new("GET-1")));
}

#[test]
fn processes_are_refused_once_the_shutdown_has_begun_followers_until_its_deadline() {
    paused(|test| {
        let service = test.supervisor().clone();
        let body = async move {
            let endless = background::run("endless", pending::<()>());
            assert!(!service.is_shutting_down());
            let told = service.shutting_down();
            let mut shutdown = Box::pin(service.shutdown(10 * SECOND));
            assert!(futures_util::poll!(shutdown.as_mut()).is_pending());
            assert!(service.is_shutting_down());
            told.await;

            let refused = background::run("prune_cache", async { 1 });
            assert!(refused.is_finished());
            assert_eq!(refused.await, Err(Lost::ShuttingDown));
            assert_eq!(Lost::ShuttingDown.to_string(), "not started: shutting down");
            let totals = service.totals();
            assert!(!totals.iter().any(|row| row.label.as_deref() == Some("prune_cache")), "{totals:?}");
            assert_eq!(run_in_background(async { here() }).await.as_deref(), Ok("GET-1"));

            assert_eq!(shutdown.await.aborted.len(), 1);
            assert_eq!(endless.await, Err(Lost::Cancelled));
            assert_eq!(run_in_background(async { 1 }).await, Err(Lost::ShuttingDown));
            assert_eq!(spawn_blocking(|| 1).await, Err(Lost::ShuttingDown));
        };
        body.in_context(LogContext::new("GET-1"))
    });
}

#[test]
fn while_it_drains_streams_end_and_processes_go_on_until_the_shutdown() {
    paused(|test| {
        let service = test.supervisor().clone();
        let body = async move {
            let streaming = service.clone();
            let stream = run_in_background(async move { streaming.draining().await });
            let endless = background::run("endless", pending::<()>());
            assert!(!service.is_draining());
            let told = service.draining();
            service.drain();
            service.drain();
            assert!(service.is_draining() && !service.is_shutting_down());
            told.await;
            service.draining().await;
            assert_eq!(stream.await, Ok(()));
            assert!(!endless.is_finished());
            assert_eq!(background::run("prune_cache", async { 1 }).await, Ok(1), "taken as ever");
            assert!(futures_util::poll!(Box::pin(service.shutting_down())).is_pending());
            assert_eq!(service.shutdown(SECOND).await.aborted.len(), 1);
            assert!(service.is_draining());
        };
        body.in_context(LogContext::new("GET-1"))
    });
}

#[test]
fn a_shutdown_drains_first() {
    paused(|test| {
        let (service, other) = (test.supervisor().clone(), Supervisor::new("other"));
        async move {
            let (draining, stopping) = (service.draining(), service.shutting_down());
            service.shutdown(SECOND).await;
            assert!(service.is_draining() && !other.is_draining());
            tokio::join!(draining, stopping);
        }
    });
}

#[test]
fn a_second_shutdown_waits_along() {
    paused(|test| {
        let service = test.supervisor().clone();
        async move {
            drop(background::run("save", sleep(5 * SECOND)));
            let started = Instant::now();
            tokio::join!(service.shutdown(60 * SECOND), service.shutdown(60 * SECOND));
            assert_eq!(started.elapsed().as_secs(), 5);
        }
    });
}

#[test]
fn private_supervisors_side_by_side_do_not_meet() {
    on_both(|runtime, test| {
        let [presence, mail] = ["presence", "mail"].map(Supervisor::new);
        let start = |service: &Supervisor| {
            let startup = service.context("startup").label("start").start();
            run(runtime, async { background::run("reap", pending::<()>()) }.in_context(startup))
        };
        let (one, other) = (start(&presence), start(&mail));
        assert_eq!(
            (one.context().name(), other.context().name()),
            ("reap-0", "reap-0"),
            "each counts its own"
        );
        assert_eq!((presence.running().len(), mail.running().len()), (1, 1));
        assert_eq!((presence.next_request(), presence.next_request(), mail.next_request()), (1, 2, 1));

        let stopping = presence.clone();
        let shutdown = run(runtime, async move { stopping.shutdown(Duration::ZERO).await });
        assert_eq!(shutdown.aborted.len(), 1);
        assert!(presence.is_shutting_down() && !mail.is_shutting_down());
        assert!(!test.supervisor().is_shutting_down());
        assert!(!other.is_finished());

        LogContext::sentinel().nested("part").set_label("ours");
        assert_eq!(test.take(DiagnosticKind::NestedFromSentinel).len(), 1);
        let counted = |service: &Supervisor| service.diagnostics(DiagnosticKind::NestedFromSentinel);
        assert_eq!((counted(test.supervisor()), counted(&presence), counted(&mail)), (1, 0, 0));
        let labels = |service: &Supervisor| service.totals().iter().filter(|row| row.label.is_some()).count();
        assert_eq!((labels(test.supervisor()), labels(&presence), labels(&mail)), (1, 2, 2));
        other.abort();
        assert_eq!(run(runtime, other), Err(Lost::Cancelled));
    });
}

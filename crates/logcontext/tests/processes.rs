//! Background processes that messages start: who is behind a run, and until when they run.
#![cfg(feature = "tokio")]
mod common;

use std::time::Duration;

use common::{here, on_both, run};
use logcontext::{
    ContextKind, FutureExt, LogContext, Lost, Request, Supervisor, background, current_context,
    run_in_background,
};
use tracing::Level;

#[test]
fn a_run_is_numbered_and_linked_to_who_is_behind_it_in_another_process() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor();
        let handle = background::process(supervisor, "presence.changed-sender");
        let context = run(runtime, async move {
            let context = |context: logcontext::ContextBuilder| {
                context.started_by_name("PUT-17").request(Request::new("EVENT", "presence.changed").id("r-1"))
            };
            let runs = [(); 2].map(|()| handle.run(context, async { here() }));
            let context = runs[1].context().clone();
            let mut names = Vec::new();
            for run in runs {
                names.push(run.await.unwrap());
            }
            assert_eq!(names, ["presence.changed-sender-0", "presence.changed-sender-1"]);
            context
        });
        assert_eq!(context.started_by(), Some("PUT-17"));
        assert_eq!((context.kind(), context.request_id()), (ContextKind::Background, Some("r-1")));
        assert!(context.is_finished());
        let totals = supervisor.totals();
        let of_it = totals.iter().find(|row| row.label.as_deref() == Some("presence.changed-sender"));
        assert_eq!(of_it.map(|row| (row.started, row.ok)), Some((2, 2)));
    });
}

#[test]
fn a_failure_is_logged_once_with_the_line_that_made_the_process() {
    on_both(|runtime, test| {
        let (handle, line) = (background::process(test.supervisor(), "sender"), line!());
        let failed =
            run(runtime, async move { handle.run(|context| context, async { Err::<(), _>("no") }).await });
        assert_eq!(failed, Ok(Err("no")));
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1);
        let place = errors[0].field("started_at").unwrap();
        assert!(place.ends_with(&format!("processes.rs:{line}:31")), "{place}");
    });
}

#[test]
fn what_was_taken_is_run_while_the_service_shuts_down_but_not_after_its_deadline() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        let handle = background::process(&supervisor, "sender");
        run(runtime, async move {
            let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
            let waits = {
                let go_on = std::sync::Arc::clone(&go_on);
                handle.run(|context| context, async move { go_on.notified().await })
            };
            let shutdown = supervisor.shutdown(Duration::from_secs(60));
            let during = async {
                supervisor.shutting_down().await;
                assert_eq!(handle.run(|context| context, async { 17 }).await, Ok(17));
                go_on.notify_one();
            };
            let (shutdown, ()) = tokio::join!(shutdown, during);
            assert!(shutdown.aborted.is_empty());
            waits.await.unwrap();
            assert_eq!(handle.run(|context| context, async {}).await, Err(Lost::ShuttingDown));
        });
    });
}

#[test]
fn how_many_handlers_wait_is_handed_down_to_all_that_is_started() {
    on_both(|runtime, test| {
        let handle = background::process(test.supervisor(), "presence.get");
        let depths = run(runtime, async move {
            let handler = async {
                let depth = || current_context().call_depth();
                let part = current_context().nested("lookup").call_depth();
                let follower =
                    run_in_background(async move { current_context().call_depth() }).await.unwrap();
                let process =
                    background::run("other", async { current_context().call_depth() }).await.unwrap();
                vec![depth(), part, follower, process, LogContext::new("own").call_depth()]
            };
            handle.run(|context| context.call_depth(3), handler).await.unwrap()
        });
        assert_eq!(depths, [3; 5]);
        assert_eq!(LogContext::new("elsewhere").call_depth(), 0);
    });
}

#[test]
fn who_is_asked_to_shut_down_hears_the_first_reason_and_it_is_logged_once() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        let reason = run(
            runtime,
            async move {
                let asked = supervisor.asked_to_shut_down();
                let ask = async {
                    assert!(supervisor.ask_to_shut_down("the first"));
                    assert!(!supervisor.ask_to_shut_down("the second"));
                };
                let (reason, ()) = tokio::join!(asked, ask);
                assert_eq!(supervisor.asked_to_shut_down().await, reason, "whoever asks later");
                assert!(!supervisor.is_shutting_down(), "who runs it does that");
                reason
            }
            .in_context(LogContext::new("listener")),
        );
        assert_eq!(&*reason, "the first");
        let logged = test.records_at(Level::ERROR);
        assert_eq!(logged.len(), 1);
        assert_eq!((logged[0].context.name(), logged[0].field("reason")), ("listener", Some("the first")));
        assert!(Supervisor::new("other").ask_to_shut_down("its own"), "each has its own");
    });
}

//! Where a panic hook reports panics, nobody reports them again.
#![cfg(feature = "tokio")]
mod common;

use std::sync::Once;

use common::{assert_at, here, line, on_both, run};
use logcontext::{FutureExt, LogContext, Lost, background, report_panic, run_in_background, spawn_blocking};
use tokio::sync::oneshot;
use tracing::Level;

/// The process's panic hook: why these tests have a file of their own.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        common::short_panics();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            report_panic(info);
            before(info);
        }));
    });
}

#[test]
fn a_panic_is_logged_by_the_hook_and_by_nobody_else() {
    install_hook();
    on_both(|runtime, test| {
        let body = async {
            let work = run_in_background(async { panic!("one") });
            let started_at = line(-1);
            assert_eq!(work.await, Err::<(), _>(Lost::Panicked("one".to_owned())));
            assert_eq!(
                spawn_blocking(|| panic!("two")).await,
                Err::<(), _>(Lost::Panicked("two".to_owned()))
            );
            let process = background::run("three", async { panic!("three") });
            assert_eq!(process.await, Err::<(), _>(Lost::Panicked("three".to_owned())));
            assert_eq!(here(), "GET-1");
            started_at
        };
        let started_at = run(runtime, body.in_context(LogContext::new("GET-1")));
        let errors = test.records_at(Level::ERROR);
        let said: Vec<_> =
            errors.iter().map(|record| (record.message.as_str(), record.context.name())).collect();
        let expected =
            [("panicked: one", "GET-1"), ("panicked: two", "GET-1"), ("panicked: three", "three-0")];
        assert_eq!(said, expected);
        for record in &errors {
            assert_eq!(record.target, "logcontext::panic");
            assert_eq!(record.field("name"), Some(record.context.name()));
            assert!(record.field("duration").is_some() && record.field("at").unwrap().contains("panics.rs"));
        }
        assert_at(&errors[0], "started_at", &started_at);
        assert_eq!(errors[2].field("started_by"), Some("GET-1"));
        assert_eq!(test.supervisor().panics(), 3);
    });
}

#[test]
fn an_item_of_a_queue_that_panics_is_logged_by_the_hook_and_the_next_comes() {
    install_hook();
    on_both(|runtime, test| {
        let body = async {
            let queue =
                background::queue("mail", 10).handle(|answer: Option<oneshot::Sender<()>>| async move {
                    answer.expect("an item").send(()).is_ok()
                });
            queue.push(None).await.unwrap();
            let (answer, answered) = oneshot::channel();
            queue.push(Some(answer)).await.unwrap();
            answered.await.unwrap();
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(test.supervisor().panics(), 1);
        assert_eq!((errors[0].context.name(), errors[0].message.as_str()), ("mail-0", "panicked: an item"));
    });
}

#[test]
fn a_panic_that_was_caught_is_the_hooks_and_a_failure_after_it_is_still_logged() {
    install_hook();
    on_both(|runtime, test| {
        let body = async {
            run_in_background(async {
                common::panic_message(|| panic!("caught"));
                Err::<(), _>("gave up")
            })
            .await
            .unwrap()
            .unwrap_err();
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        let said: Vec<_> = test.records_at(Level::ERROR).into_iter().map(|record| record.message).collect();
        assert_eq!(said, ["panicked: caught", "background work failed"]);
        assert_eq!(test.supervisor().panics(), 1);
    });
}

#[test]
fn a_panic_that_is_passed_on_by_many_hands_is_counted_once_where_it_happened() {
    install_hook();
    on_both(|runtime, test| {
        let other = logcontext::Supervisor::new("other");
        let body = async {
            let work = run_in_background(async {
                let mut panic = logcontext::catch_panic(|| panic!("no")).unwrap_err();
                panic.report();
                panic.resume()
            });
            assert_eq!(work.await, Err::<(), _>(Lost::Panicked("no".to_owned())));
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
        assert_eq!((test.supervisor().panics(), other.panics()), (1, 0));
        assert_eq!(test.records_at(Level::ERROR).len(), 1);
    });
}

//! The test kit: a test that starts or ends outside the sentinel, or raises a diagnostic, fails.
mod common;

use std::time::Duration;

use common::panic_message;
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{LogContext, Supervisor, current_context, set_current_context, testing};
use tracing::Level;

#[test]
fn a_test_that_starts_in_a_context_fails() {
    let ctx = LogContext::new("left over");
    let message = ctx.scope(|| panic_message(|| drop(testing::start())));
    assert!(message.contains("starts in context left over"), "{message}");
}

#[test]
fn a_test_that_ends_in_a_context_fails_and_the_thread_is_put_right() {
    let message = panic_message(|| {
        let _test = testing::start();
        set_current_context(LogContext::new("forgotten"));
    });
    assert!(message.contains("ends in context forgotten"), "{message}");
    assert!(current_context().is_sentinel());
}

#[test]
fn a_test_that_raises_a_diagnostic_fails_and_says_which_and_where() {
    let line = line!() + 3;
    let message = panic_message(|| {
        let _test = testing::start();
        LogContext::sentinel().record_db_transaction(Duration::ZERO);
    });
    assert!(message.contains("transaction_from_sentinel"), "{message}");
    assert!(message.contains(&format!("testing_kit.rs:{line}:")), "{message}");
}

#[test]
fn a_diagnostic_that_was_expected_and_taken_fails_nothing_others_still_do() {
    let message = panic_message(|| {
        let test = testing::start();
        LogContext::sentinel().record_db_transaction(Duration::ZERO);
        let _ = LogContext::sentinel().nested("part");
        assert_eq!(test.reports().len(), 2);
        assert_eq!(test.take(DiagnosticKind::TransactionFromSentinel).len(), 1);
        assert!(test.take(DiagnosticKind::TransactionFromSentinel).is_empty());
    });
    assert!(message.contains("nested_from_sentinel") && !message.contains("transaction"), "{message}");

    let test = testing::start();
    let _ = LogContext::sentinel().nested("part");
    assert_eq!(test.take(DiagnosticKind::NestedFromSentinel).len(), 1);
}

#[test]
fn a_test_that_fails_of_itself_says_why_and_nothing_else() {
    let message = panic_message(|| {
        let _test = testing::start();
        set_current_context(LogContext::new("forgotten"));
        LogContext::sentinel().record_db_transaction(Duration::ZERO);
        panic!("what the test is about");
    });
    assert_eq!(message, "what the test is about");
    assert!(current_context().is_sentinel());
}

#[test]
fn a_fault_on_another_thread_fails_the_test_as_well() {
    let message = panic_message(|| {
        let test = testing::start();
        std::thread::scope(|threads| {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            threads.spawn(|| {
                test.thread_start()();
                LogContext::sentinel().record_db_transaction(Duration::ZERO);
            });
        });
    });
    assert!(message.contains("transaction_from_sentinel"), "{message}");
}

#[test]
fn records_are_captured_with_level_target_fields_and_context() {
    let test = testing::start();
    LogContext::new("GET-1").scope(|| {
        tracing::info!(target: "mine", user = "@alice", n = 7, "hello {}", "there");
    });
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        threads.spawn(|| {
            test.thread_start()();
            tracing::warn!("elsewhere");
        });
    });
    let records = test.records();
    assert_eq!(records.len(), 2);
    let record = &records[0];
    assert_eq!(
        (record.level, record.target.as_str(), record.message.as_str()),
        (Level::INFO, "mine", "hello there")
    );
    assert_eq!(
        (record.field("user"), record.field("n"), record.field("absent")),
        (Some("@alice"), Some("7"), None)
    );
    assert_eq!(record.context.name(), "GET-1");
    assert!(records[1].context.is_sentinel());
    assert_eq!(test.records_at(Level::WARN).len(), 1);
}

#[test]
fn each_test_has_a_supervisor_of_its_own_and_gives_the_thread_back() {
    let before = Supervisor::current();
    let test = testing::start();
    let ctx = LogContext::new("GET-1");
    assert_eq!(ctx.supervisor(), *test.supervisor());
    assert_ne!(*test.supervisor(), before);
    drop(test);
    assert_eq!(Supervisor::current(), before);
    let next = testing::start();
    assert!(next.records().is_empty() && next.reports().is_empty());
    assert_ne!(ctx.supervisor(), *next.supervisor());
}

#[cfg(feature = "tokio")]
#[test]
fn the_runtimes_of_a_test_belong_to_it_and_notice_what_leaks_into_them() {
    for workers in 0..3 {
        let test = testing::start();
        let runtime = if workers == 0 { test.current_thread() } else { test.multi_thread(workers) };
        #[expect(clippy::disallowed_methods, reason = "raw spawns are what leaks")]
        runtime.block_on(async {
            let on_worker = tokio::spawn(async { Supervisor::current() }).await.unwrap();
            assert_eq!(on_worker, *test.supervisor());
            let on_blocking = tokio::task::spawn_blocking(Supervisor::current).await.unwrap();
            assert_eq!(on_blocking, *test.supervisor());
            tokio::spawn(async { set_current_context(LogContext::new("leaked")) }).await.unwrap();
        });
        // Noticed when the thread parks; on this thread, where it works itself, at the next wait.
        if workers == 0 {
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        drop(runtime);
        assert!(current_context().is_sentinel());
        let reports = test.take(DiagnosticKind::ContextMismatch);
        assert_eq!(reports.len(), 1, "{workers} workers");
        assert_eq!(reports[0].found.as_ref().unwrap().name(), "leaked");
    }
}

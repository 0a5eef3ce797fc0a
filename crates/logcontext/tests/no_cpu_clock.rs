//! On systems without a CPU clock for threads CPU is absent, and everything else works
//! (`--cfg logcontext_no_cpu_clock` only).
#![cfg(all(logcontext_no_cpu_clock, feature = "tokio"))]

use std::time::Duration;

use logcontext::{FutureExt, LogContext, background, books, current_context, testing};

#[test]
fn cpu_is_absent_not_zero_and_everything_else_works() {
    let test = testing::start();
    let runtime = test.multi_thread(2);
    let request = LogContext::builder("GET-1").label("GET /").start();
    let name = runtime.block_on(
        async {
            current_context().record_db_transaction(Duration::from_millis(3));
            background::run("prune", async { current_context().name().to_owned() }).await
        }
        .in_context(request.clone()),
    );
    assert_eq!(name.as_deref(), Ok("prune-0"));
    let usage = request.finish();
    assert_eq!((usage.cpu(), usage.cpu_user(), usage.cpu_system()), (None, None, None));
    assert_eq!((usage.db_txn_count, usage.db_txn_duration), (1, Duration::from_millis(3)));
    assert_eq!(request.cpu_after_finish(), None);
    assert!(books().is_none());
    let totals = test.supervisor().totals();
    assert!(totals.iter().any(|row| row.label.as_deref() == Some("prune") && row.ok == 1));
    assert!(request.elapsed() > Duration::ZERO);
    assert!(!format!("{usage:?}").contains("cpu: Some"));
}

#[test]
fn a_poll_that_takes_long_is_blocking_where_nobody_can_tell() {
    let test = testing::start();
    test.supervisor().set_slow_poll_limit(Duration::from_millis(1));
    test.current_thread().block_on(
        async {
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_millis(3) {
                std::hint::spin_loop();
            }
        }
        .in_context(LogContext::new("slow")),
    );
    let polls = test.supervisor().slow_polls();
    assert_eq!((polls.blocked, polls.burned), (1, 0));
}

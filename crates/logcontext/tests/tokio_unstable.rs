//! Tasks without a context are found by the line that spawned them (`--cfg tokio_unstable` only).
#![cfg(all(tokio_unstable, feature = "tokio"))]
#![expect(clippy::disallowed_methods, reason = "raw spawns are what is looked for")]

use logcontext::{FutureExt, LogContext, run_in_background, watch};

#[test]
fn a_task_spawned_without_a_context_is_counted_by_its_line_and_no_other_is() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let strays = watch::watch_tasks(&mut builder);
    let runtime = builder.build().unwrap();
    let stray_line = runtime.block_on(async {
        let request = LogContext::new("GET-17");
        request.scope(|| run_in_background(tokio::task::yield_now())).await.unwrap();
        tokio::spawn(tokio::task::yield_now().in_context(request.clone())).await.unwrap();
        tokio::spawn(tokio::task::yield_now().in_context(LogContext::sentinel())).await.unwrap();
        let line = line!() + 1;
        tokio::spawn(tokio::task::yield_now()).await.unwrap();
        line
    });
    let polls = strays.polls();
    assert_eq!(polls.len(), 1, "{polls:?}");
    assert_eq!(polls[0].0.line(), stray_line);
    assert_eq!(polls[0].1, 2);
}

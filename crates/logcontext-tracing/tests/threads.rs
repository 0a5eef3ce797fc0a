//! Records of `tracing` and of `log` from any thread of a process, in the contexts they were written in.

mod common;

use std::sync::OnceLock;

use common::Kept;
use logcontext::{FutureExt, LogContext};
use logcontext_tracing::LogGuard;
use serde_json::Value;

/// One log for all tests of the process, as a service has it.
fn log() -> &'static (LogGuard, Kept) {
    static LOG: OnceLock<(LogGuard, Kept)> = OnceLock::new();
    LOG.get_or_init(|| {
        let kept = Kept::default();
        let filter = "debug,quiet=warn,tokio=off";
        let builder = logcontext_tracing::builder().json().filter(filter).unwrap();
        (builder.writer(kept.clone()).init().unwrap(), kept)
    })
}

/// The records whose message begins so.
fn records(message: &str) -> Vec<Value> {
    let (guard, kept) = log();
    assert!(guard.flush());
    let mut records = kept.json();
    records.retain(|record| record["message"].as_str().unwrap().starts_with(message));
    records
}

#[test]
fn records_of_the_log_crate_come_out_the_same_with_where_they_come_from() {
    log();
    common::request().scope(|| log::error!(target: "old::library", "old \"style\" {}", 1));
    let line = line!() - 1;
    log::info!("old alone");
    let records = records("old");
    let file = file!().rsplit('/').next().unwrap();
    assert_eq!(records[0]["message"], "old \"style\" 1");
    assert_eq!((&records[0]["level"], &records[0]["target"]), (&"ERROR".into(), &"old::library".into()));
    assert_eq!((&records[0]["context"], &records[0]["user_agent"]), (&"PUT-17".into(), &"curl/8".into()));
    assert!(records[0]["file"].as_str().unwrap().ends_with(file));
    assert_eq!(records[0]["line"], line);
    assert!(records[0].as_object().unwrap().keys().all(|key| !key.starts_with("log.")));
    assert_eq!((&records[1]["target"], &records[1]["context"]), (&"threads".into(), &"sentinel".into()));
}

#[test]
fn the_filter_is_for_records_of_both_kinds() {
    log();
    tracing::info!(target: "quiet::inside", "filtered: no");
    log::info!(target: "quiet::inside", "filtered: no");
    tracing::warn!(target: "quiet", "filtered: yes");
    log::warn!(target: "quiet", "filtered: yes");
    tracing::trace!("filtered: no");
    log::trace!("filtered: no");
    log::debug!("filtered: yes");
    let messages: Vec<_> = records("filtered").iter().map(|record| record["message"].clone()).collect();
    assert_eq!(messages, ["filtered: yes", "filtered: yes", "filtered: yes"]);
}

#[test]
fn tasks_and_blocking_calls_of_many_requests_each_keep_their_context() {
    const REQUESTS: usize = 50;
    log();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for request in 0..REQUESTS {
            let work = async move {
                tracing::info!(request, "busy: task");
                tokio::task::yield_now().await;
                logcontext::spawn_blocking(move || log::info!("busy: blocking {request}")).await.unwrap();
                tracing::info!(request, "busy: task again");
            };
            let context = LogContext::new(format!("GET-{request}"));
            tasks.push(context.scope(|| logcontext::run_in_background(work.in_current_context())));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    let records = records("busy");
    assert_eq!(records.len(), 3 * REQUESTS);
    for record in records {
        let request = match record["request"].as_u64() {
            Some(request) => request,
            None => record["message"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap(),
        };
        assert_eq!(record["context"], format!("GET-{request}"));
    }
}

#[test]
fn a_plain_thread_and_a_callback_have_theirs() {
    log();
    let context = LogContext::new("watch");
    let callback = context.scope(|| logcontext::preserve_fn(|| tracing::info!("thread: callback")));
    std::thread::scope(|scope| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        scope.spawn(callback);
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        scope.spawn(|| tracing::info!("thread: plain"));
    });
    for record in records("thread") {
        let expected = if record["message"] == "thread: plain" { "sentinel" } else { "watch" };
        assert_eq!(record["context"], expected);
    }
}

#[test]
fn a_background_process_is_linked_to_the_request_that_started_it() {
    log();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let process = common::request()
            .scope(|| logcontext::background::run("prune", async { tracing::info!("linked") }));
        process.await.unwrap();
    });
    let record = records("linked").remove(0);
    assert_eq!(record["started_by"], "PUT-17");
    assert!(record["context"].as_str().unwrap().starts_with("prune-"));
    assert_eq!(record.get("request_id"), None);
}

#[test]
fn a_value_that_logs_while_it_is_printed_has_a_line_of_its_own() {
    struct Logging;
    impl std::fmt::Debug for Logging {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("within: inner");
            f.write_str("printed")
        }
    }
    log();
    tracing::info!(value = ?Logging, "within: outer");
    let records = records("within");
    assert_eq!(records[0]["message"], "within: inner");
    assert_eq!((&records[1]["message"], &records[1]["value"]), (&"within: outer".into(), &"printed".into()));
}

#[test]
fn a_second_log_in_one_process_is_refused() {
    log();
    let error = logcontext_tracing::builder().writer(std::io::sink()).init().unwrap_err();
    assert_eq!(error.to_string(), "another subscriber takes tracing's records already");
}

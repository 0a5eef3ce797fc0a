//! A panic is one record, in the log, with the context in which it happened.
//!
//! The hook is the process's: this is one test.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::{Kept, request};
use logcontext::{FutureExt, LogContext, background};

#[test]
fn a_panic_is_reported_once_with_its_context_and_then_as_it_was_before() {
    let before = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&before);
    std::panic::set_hook(Box::new(move |_| {
        count.fetch_add(1, SeqCst);
    }));
    let kept = Kept::default();
    // It would write in a minute: what is there at once was flushed.
    let options = logcontext_tracing::LogWriter::options().linger(common::FOREVER).json_notes();
    let builder = logcontext_tracing::builder().json().writer_options(options);
    let log = builder.writer(kept.clone()).init().unwrap();

    // Caught by nobody of ours.
    let context = request();
    std::panic::catch_unwind(|| context.scope(|| panic!("in a request"))).unwrap_err();
    let record = kept.json().remove(0);
    assert_eq!((&record["level"], &record["target"]), (&"ERROR".into(), &"logcontext::panic".into()));
    assert_eq!(record["message"], "panicked: in a request");
    assert_eq!((&record["context"], &record["path"]), (&"PUT-17".into(), &"/presence/alice".into()));
    assert!(record["at"].as_str().unwrap().contains("tests/panics.rs:"));
    assert_eq!(kept.lines().len(), 1);

    // Caught by the background process it happens in.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let process = async {
        let process = LogContext::new("startup").scope(|| {
            background::run("prune", async {
                tokio::task::yield_now().await;
                if true {
                    panic!("in the background");
                }
            })
        });
        process.await.unwrap_err();
    };
    runtime.block_on(process.in_context(LogContext::new("main")));
    assert!(log.flush());
    let records = kept.json();
    let errors: Vec<_> = records[1..].iter().filter(|record| record["level"] == "ERROR").collect();
    assert_eq!(errors.len(), 1, "{records:?}");
    let error = errors[0];
    assert_eq!(error["message"], "panicked: in the background");
    let name = error["context"].as_str().unwrap();
    assert!(name.starts_with("prune-"), "{name}");
    assert_eq!((&error["name"], &error["started_by"]), (&name.into(), &"startup".into()));
    assert_eq!(error.get("fields"), None, "nothing is told twice");
    assert!(error["duration"].is_string());
    assert!(error["cpu"].is_string() || !cfg!(target_os = "linux"));
    assert!(error["started_at"].as_str().unwrap().contains("tests/panics.rs:"));
    assert_eq!(before.load(SeqCst), 0, "the hook before has nothing to say");

    // Where the log does not take it, it is not lost.
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
        std::panic::catch_unwind(|| panic!("unheard")).unwrap_err();
    });
    assert_eq!(before.load(SeqCst), 1);

    let lines = kept.lines().len();
    drop(log);
    std::panic::catch_unwind(|| panic!("after the end")).unwrap_err();
    assert_eq!((before.load(SeqCst), kept.lines().len()), (2, lines));
}

//! The page `/status`: one process, for who looks at several.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::{Running, body, on_both, settings};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::source::{Collector, Figure, FigureKind, Histogram, Source};
use serde_json::{Value, json};

async fn page(running: &Running<'_>) -> Value {
    let answer = running.admin("/status").await;
    assert!(answer.contains("content-type: application/json"), "{answer}");
    serde_json::from_str(body(&answer)).unwrap()
}

fn row<'a>(page: &'a Value, kind: &str, label: &str) -> &'a Value {
    let rows = page["costs"].as_array().unwrap();
    rows.iter().find(|row| row["kind"] == kind && row["label"] == label).unwrap_or_else(|| panic!("{page:#}"))
}

#[test]
fn it_says_who_it_is_what_runs_and_what_it_has_cost() {
    on_both(settings, async |running| {
        for _ in 0..3 {
            running.get("/").await;
        }
        let first = page(running).await;
        assert_eq!(
            (&first["page"], &first["name"], &first["version"]),
            (&1.into(), &"greeter".into(), &"1.2.3".into())
        );
        assert_eq!(first["details"], json!({ "mood": "hello" }));
        assert_eq!(first["process_id"], std::process::id());
        assert_eq!(first["instance"].as_str().unwrap().len(), 16);
        assert!(first["uptime_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!((&first["requests_in_flight"], &first["background_running"]), (&0.into(), &2.into()));
        assert_eq!((&first["diagnostics"], &first["panics"]), (&json!({}), &0.into()));
        let cost = row(&first, "request", "GET /");
        assert_eq!(
            (&cost["started"], &cost["in_flight"], &cost["failed"]),
            (&3.into(), &0.into(), &0.into())
        );
        assert_eq!(cost["cpu_seconds"].as_f64().is_some(), logcontext::books().is_some());
        assert_eq!(cost["db_transactions"], 0);
        let second = page(running).await;
        assert_eq!(second["instance"], first["instance"]);
        assert!(second["uptime_seconds"].as_f64() > first["uptime_seconds"].as_f64());
    });
}

#[test]
fn what_was_raised_is_counted_there() {
    on_both(settings, async |running| {
        let [done, test] = ["GET-1", "test"].map(|name| running.test.supervisor().context(name).start());
        done.finish();
        test.scope(|| done.scope(|| {}));
        test.finish();
        let page = page(running).await;
        let raised = running.test.take(DiagnosticKind::FinishedRestarted);
        assert_eq!(raised.len(), 1);
        assert_eq!(page["diagnostics"], json!({ DiagnosticKind::FinishedRestarted.name(): 1 }));
    });
}

/// Says what it is told to, or panics.
struct Told {
    asked: AtomicUsize,
    panics: bool,
    rows: usize,
}

impl Source for Told {
    fn describe(&self) -> &[Figure] {
        const { &[Figure { name: "told", help: "", kind: FigureKind::Gauge }] }
    }

    fn collect(&self, out: &mut dyn Collector) {
        self.asked.fetch_add(1, SeqCst);
        let waits = Histogram::seconds();
        waits.observe(std::time::Duration::from_millis(250));
        out.histogram("told_seconds", &[], &waits.read());
        out.value("told_nothing", &[], f64::NAN);
        for n in 0..self.rows {
            out.value("told", &[("n", &n.to_string()), ("text", "\u{1b}[2J\"")], 0.5);
        }
        assert!(!self.panics, "planned");
    }
}

fn register(running: &Running<'_>, panics: bool, rows: usize) -> Arc<Told> {
    let told = Arc::new(Told { asked: AtomicUsize::new(0), panics, rows });
    running.test.supervisor().register(&(Arc::clone(&told) as Arc<dyn Source>));
    told
}

#[test]
fn figures_of_sources_are_on_it() {
    on_both(settings, async |running| {
        let _told = register(running, false, 1);
        let page = page(running).await;
        let expected = json!([
            { "name": "told_seconds", "count": 1, "sum_seconds": 0.25 },
            { "name": "told", "labels": { "n": "0", "text": "\u{1b}[2J\"" }, "value": 0.5 },
        ]);
        assert_eq!((&page["figures"], &page["figures_left_out"]), (&expected, &0.into()));
    });
}

#[test]
fn it_has_no_more_figures_than_it_may() {
    on_both(settings, async |running| {
        let _told = register(running, false, 6_000);
        let page = page(running).await;
        assert_eq!(page["figures"].as_array().unwrap().len(), 5_000);
        assert_eq!(page["figures_left_out"], 1_001);
    });
}

#[test]
fn a_source_that_panics_is_left_out_and_not_asked_again() {
    std::panic::set_hook(Box::new(|_| {}));
    on_both(settings, async |running| {
        let bad = register(running, true, 2);
        let _good = register(running, false, 2);
        for _ in 0..3 {
            assert_eq!(page(running).await["figures"].as_array().unwrap().len(), 3);
        }
        assert_eq!(bad.asked.load(SeqCst), 1);
    });
}

//! What an exposition says of contexts.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use logcontext::diagnostics::DiagnosticKind;
use logcontext::testing;
use logcontext::{ContextKind, Counter, Ending, RemoteUsage, background, measure_sync, run_in_background};
use logcontext_metrics::{Exporter, Format};
use support::{FORMATS, begin, on_both, scrape};

static ROWS: Counter = Counter::new("rows_fetched");
const HALF: Duration = Duration::from_millis(500);

fn burn() {
    let mut state = 1_u64;
    for _ in 0..2_000_000 {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

#[test]
fn each_label_has_what_its_requests_did_and_cost() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let label = ("label", "GET /a");
    for (status, ending) in
        [(200, Ending::Ok), (204, Ending::Ok), (503, Ending::Failed), (0, Ending::Cancelled)]
    {
        let request = begin(&test, ContextKind::Request, "GET /a");
        if status > 0 {
            request.set_status(status);
        }
        request.scope(burn);
        request.record_db_transaction(Duration::from_millis(250));
        request.record_db_wait(Duration::from_millis(125));
        request.add(&ROWS, 5);
        request
            .record_remote(&RemoteUsage::call().with_cpu(Duration::from_millis(500)).with_db_txns(3, HALF));
        request.record_remote(&RemoteUsage::unknown());
        request.finish_as(ending);
    }
    let held = begin(&test, ContextKind::Request, "GET /a");
    for format in FORMATS {
        let found = scrape(&exporter, format);
        let of = |name: &str, more: &[(&str, &str)]| found.get(name, &[&[label], more].concat());
        assert_eq!(of("logcontext_requests_started_total", &[]), Some(5.0));
        for (outcome, n) in [("ok", 2.0), ("failed", 1.0), ("panicked", 0.0), ("cancelled", 1.0)] {
            assert_eq!(of("logcontext_requests_total", &[("outcome", outcome)]), Some(n), "{outcome}");
        }
        for (status, n) in [("1xx", 0.0), ("2xx", 2.0), ("3xx", 0.0), ("4xx", 0.0), ("5xx", 1.0)] {
            assert_eq!(of("logcontext_responses_total", &[("status", status)]), Some(n), "{status}");
        }
        assert_eq!(of("logcontext_requests_in_flight", &[]), Some(1.0));
        assert_eq!(of("logcontext_request_duration_seconds_count", &[]), Some(4.0));
        assert_eq!(of("logcontext_request_db_transactions_total", &[]), Some(4.0));
        assert_eq!(of("logcontext_request_db_transaction_seconds_total", &[]), Some(1.0));
        assert_eq!(of("logcontext_request_db_wait_seconds_total", &[]), Some(0.5));
        assert_eq!(of("logcontext_request_db_acquire_seconds_total", &[]), None, "all waits are known");
        assert_eq!(of("logcontext_request_counts_total", &[("counter", "rows_fetched")]), Some(20.0));
        assert_eq!(of("logcontext_request_remote_calls_total", &[]), Some(4.0));
        assert_eq!(of("logcontext_request_remote_unknown_calls_total", &[]), Some(4.0));
        assert_eq!(of("logcontext_request_remote_cpu_seconds_total", &[]), Some(2.0));
        assert_eq!(of("logcontext_request_remote_db_transactions_total", &[]), Some(12.0));
        assert_eq!(of("logcontext_request_remote_db_transaction_seconds_total", &[]), Some(2.0));
        assert_eq!(of("logcontext_request_remote_db_wait_seconds_total", &[]), None, "nobody has told");
        let cpu = test.supervisor().totals()[0].usage.cpu().unwrap().as_secs_f64();
        assert!(cpu > 0.0);
        assert!((found.sum("logcontext_request_cpu_seconds_total", &[label]) - cpu).abs() < 1e-6);
        assert!(of("logcontext_request_cpu_seconds_total", &[("mode", "user")]) > Some(0.0));
        assert!(of("logcontext_request_cpu_seconds_total", &[("mode", "system")]).is_some());
        assert_eq!(of("logcontext_request_cpu_after_finish_seconds_total", &[]), Some(0.0));
    }
    drop(held);
}

#[test]
fn each_kind_of_context_has_families_of_its_own() {
    on_both(|runtime, test| {
        let exporter = Exporter::new(test.supervisor());
        runtime.block_on(async {
            let _ = background::run("prune", async { measure_sync("sweep", burn) }).await;
        });
        begin(test, ContextKind::Connection, "http").finish();
        let listening = begin(test, ContextKind::Connection, "http");
        test.supervisor().context("startup").start().finish();
        begin(test, ContextKind::Task, "import").finish();
        for format in FORMATS {
            let found = scrape(&exporter, format);
            let ok = |name: &str, key, label| found.get(name, &[(key, label), ("outcome", "ok")]);
            assert_eq!(ok("logcontext_background_processes_total", "name", "prune"), Some(1.0));
            assert_eq!(ok("logcontext_blocks_total", "name", "sweep"), Some(1.0));
            assert_eq!(ok("logcontext_connections_total", "listener", "http"), Some(1.0));
            assert_eq!(found.get("logcontext_connections_in_flight", &[("listener", "http")]), Some(1.0));
            assert_eq!(ok("logcontext_tasks_total", "label", "(none)"), Some(1.0));
            assert_eq!(ok("logcontext_tasks_total", "label", "import"), Some(1.0));
            let block = found.sum("logcontext_block_cpu_seconds_total", &[]);
            let process = found.sum("logcontext_background_process_cpu_seconds_total", &[]);
            assert!(
                block > 0.0 && process >= block,
                "a block's cost is its process's too: {block}, {process}"
            );
        }
        drop(listening);
    });
}

#[test]
fn what_has_no_label_yet_is_in_flight_and_in_no_counter() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let request = test.supervisor().context("GET-1").kind(ContextKind::Request).start();
    request.scope(burn);
    let none = [("label", "(none)")];
    let found = scrape(&exporter, Format::Prometheus);
    assert_eq!(found.get("logcontext_requests_in_flight", &none), Some(1.0));
    assert_eq!(found.samples("logcontext_requests_started_total").count(), 0);
    assert_eq!(found.samples("logcontext_request_cpu_seconds_total").count(), 0);

    request.set_label("GET /a");
    let found = scrape(&exporter, Format::Prometheus);
    assert_eq!(found.get("logcontext_requests_in_flight", &none), Some(0.0));
    assert_eq!(found.get("logcontext_requests_in_flight", &[("label", "GET /a")]), Some(1.0));
    assert!(found.sum("logcontext_request_cpu_seconds_total", &[("label", "GET /a")]) > 0.0);
    assert_eq!(found.get("logcontext_requests_started_total", &none), None);
}

#[test]
fn a_request_that_runs_is_in_the_figures_with_the_slice_that_it_is_in() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let request = begin(&test, ContextKind::Request, "GET /a");
    let (begun, go_on) = (std::sync::Barrier::new(2), AtomicBool::new(true));
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "a thread that burns in a context of its own")]
        threads.spawn(|| {
            request.scope(|| {
                begun.wait();
                while go_on.load(Relaxed) {
                    black_box(0);
                }
            });
        });
        begun.wait();
        let cpu = || scrape(&exporter, Format::Prometheus).sum("logcontext_request_cpu_seconds_total", &[]);
        // Its only slice is open all the time. This ends, or the test runs into its limit.
        let first = cpu();
        while cpu() < first + 0.001 {}
        assert_eq!(test.supervisor().totals()[0].in_flight, 1);
        go_on.store(false, Relaxed);
    });
}

#[test]
fn work_after_the_finish_is_shown_apart() {
    on_both(|runtime, test| {
        let exporter = Exporter::new(test.supervisor());
        let request = begin(test, ContextKind::Request, "GET /a");
        let _inside = runtime.enter();
        let late = request.scope(|| run_in_background(async { burn() }));
        request.finish();
        drop(_inside);
        runtime.block_on(late).unwrap();
        let found = scrape(&exporter, Format::Prometheus);
        let after =
            found.get("logcontext_request_cpu_after_finish_seconds_total", &[("label", "GET /a")]).unwrap();
        assert!(after <= found.sum("logcontext_request_cpu_seconds_total", &[]));
    });
}

#[test]
fn waits_that_no_pool_could_tell_are_absent_and_what_is_known_instead_is_there() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let request = begin(&test, ContextKind::Request, "GET /a");
    request.record_db_acquire(Duration::from_millis(500));
    request.finish();
    let found = scrape(&exporter, Format::Prometheus);
    assert_eq!(found.get("logcontext_request_db_wait_seconds_total", &[("label", "GET /a")]), None);
    assert_eq!(found.get("logcontext_request_db_acquire_seconds_total", &[("label", "GET /a")]), Some(0.5));
}

#[test]
fn labels_beyond_the_limit_are_one_and_those_within_stay() {
    let test = testing::start();
    let exporter = Exporter::builder(test.supervisor()).label_limit(2).build();
    let request = |label: &str| begin(&test, ContextKind::Request, label).finish();
    let labels = |name: &str| -> Vec<String> {
        scrape(&exporter, Format::OpenMetrics)
            .samples(name)
            .map(|sample| sample.labels["label"].clone())
            .collect()
    };
    // `b` has its place before `a` has, though the core lists it later once both are there.
    let held = begin(&test, ContextKind::Request, "b");
    assert_eq!(labels("logcontext_requests_started_total"), ["b"]);
    for label in ["a", "c", "d", "c", "other"] {
        request(label);
    }
    for _ in 0..3 {
        assert_eq!(labels("logcontext_requests_started_total"), ["b", "a", "other"]);
    }
    request("e");
    request("a");
    let found = scrape(&exporter, Format::OpenMetrics);
    let started = |label: &str| found.get("logcontext_requests_started_total", &[("label", label)]);
    assert_eq!([started("a"), started("b"), started("other")], [Some(2.0), Some(1.0), Some(5.0)]);
    assert_eq!(found.get("logcontext_request_duration_seconds_count", &[("label", "other")]), Some(5.0));
    // Each kind has as many.
    begin(&test, ContextKind::Task, "z").finish();
    assert!(labels("logcontext_tasks_started_total").contains(&"z".to_owned()));
    drop(held);
}

#[test]
fn costs_that_move_to_another_label_do_not_make_a_counter_go_down() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    // A task may get its label late: its row without one is less then.
    let task = test.supervisor().context("import").start();
    task.record_db_transaction(Duration::from_secs(1));
    let seconds = |label: &str| {
        let found = scrape(&exporter, Format::Prometheus);
        found.get("logcontext_task_db_transaction_seconds_total", &[("label", label)])
    };
    assert_eq!(seconds("(none)"), Some(1.0));
    task.set_label("import");
    assert_eq!((seconds("(none)"), seconds("import")), (Some(1.0), Some(1.0)));
    let second = test.supervisor().context("export").start();
    second.record_db_transaction(Duration::from_secs(3));
    assert_eq!(seconds("(none)"), Some(3.0));
}

#[test]
fn what_the_supervisor_counts_is_there() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let first = test.supervisor().claim_name("cache", "a", std::panic::Location::caller());
    drop(test.supervisor().claim_name("cache", "a", std::panic::Location::caller()));
    drop(first);
    assert_eq!(test.take(DiagnosticKind::NameUsedTwice).len(), 1);
    for format in FORMATS {
        let found = scrape(&exporter, format);
        for kind in DiagnosticKind::ALL {
            let expected = f64::from(u8::from(*kind == DiagnosticKind::NameUsedTwice));
            assert_eq!(found.get("logcontext_diagnostics_total", &[("kind", kind.name())]), Some(expected));
        }
        for cause in ["blocked", "burned", "preempted"] {
            assert_eq!(found.get("logcontext_slow_polls_total", &[("cause", cause)]), Some(0.0));
        }
        assert_eq!(found.get("logcontext_slow_poll_longest_seconds", &[]), Some(0.0));
        assert_eq!(found.get("logcontext_panics_total", &[]), Some(0.0));
    }
    // Held, though it has finished; nested, and so in no total.
    let request = begin(&test, ContextKind::Request, "GET /a");
    let lookup = request.nested("lookup");
    request.finish();
    assert_eq!(scrape(&exporter, Format::Prometheus).get("logcontext_live_contexts", &[]), Some(2.0));
    drop((request, lookup));
    assert_eq!(scrape(&exporter, Format::Prometheus).get("logcontext_live_contexts", &[]), Some(0.0));
}

#[test]
fn panics_and_slow_polls_are_counted() {
    on_both(|runtime, test| {
        let exporter = Exporter::new(test.supervisor());
        test.supervisor().set_slow_poll_limit(Duration::from_millis(1));
        runtime.block_on(async {
            let slow = background::run("burns", async {
                let start = logcontext::bench::thread_cpu_nanos().unwrap();
                while logcontext::bench::thread_cpu_nanos().unwrap() - start < 3_000_000 {}
            });
            slow.await.unwrap();
            assert!(
                background::run("panics", async {
                    if true {
                        panic!("on purpose");
                    }
                })
                .await
                .is_err()
            );
        });
        let found = scrape(&exporter, Format::Prometheus);
        assert_eq!(found.get("logcontext_panics_total", &[]), Some(1.0));
        assert!(found.sum("logcontext_slow_polls_total", &[]) >= 1.0);
        let panicked = [("name", "panics"), ("outcome", "panicked")];
        assert_eq!(found.get("logcontext_background_processes_total", &panicked), Some(1.0));
    });
}

#[test]
fn the_books_are_there_and_their_parts_make_up_the_process() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let request = begin(&test, ContextKind::Request, "GET /a");
    request.scope(burn);
    let found = scrape(&exporter, Format::Prometheus);
    let of = |name: &str| found.get(name, &[]).unwrap_or_else(|| panic!("no {name}"));
    let named: Vec<_> =
        found.samples("logcontext_books_cpu_seconds_total").map(|part| &*part.labels["part"]).collect();
    assert_eq!(named, ["before", "contexts", "sentinel", "meter"]);
    assert!(found.get("logcontext_books_cpu_seconds_total", &[("part", "contexts")]) > Some(0.0));
    let parts = found.sum("logcontext_books_cpu_seconds_total", &[])
        + of("logcontext_books_open_cpu_seconds")
        + of("logcontext_books_foreign_cpu_seconds")
        + of("logcontext_books_unaccounted_cpu_seconds");
    let process = of("logcontext_books_process_cpu_seconds_total");
    // As near as the books themselves are when they are read while somebody runs.
    assert!((parts - process).abs() <= process / 10.0, "{parts} of {process}");
    assert!(of("logcontext_books_unaccounted_ratio").abs() < 1.0);
    assert!(found.get("logcontext_threads", &[("kind", "known")]) >= Some(1.0));
    assert!(process > 0.0 && of("process_open_fds") >= 3.0);
    assert_eq!(of("process_cpu_seconds_total"), process, "one number");
}

#[test]
fn two_services_do_not_see_each_other() {
    let test = testing::start();
    let other = logcontext::Supervisor::new("other");
    other.context("GET-1").kind(ContextKind::Request).label("GET /theirs").start().finish();
    begin(&test, ContextKind::Request, "GET /ours").finish();
    let ours = Exporter::new(test.supervisor()).render(Format::Prometheus);
    assert!(ours.contains("GET /ours") && !ours.contains("GET /theirs"));
}

#[test]
fn clones_are_one_exporter() {
    let test = testing::start();
    let exporter = Exporter::builder(test.supervisor()).label_limit(1).build();
    let held = begin(&test, ContextKind::Request, "b");
    scrape(&exporter, Format::Prometheus);
    begin(&test, ContextKind::Request, "a").finish();
    let found = scrape(&exporter.clone(), Format::Prometheus);
    assert!(found.get("logcontext_requests_started_total", &[("label", "b")]).is_some());
    assert!(found.get("logcontext_requests_started_total", &[("label", "a")]).is_none());
    drop(held);
    let _: Arc<dyn Send> = Arc::new(exporter);
}

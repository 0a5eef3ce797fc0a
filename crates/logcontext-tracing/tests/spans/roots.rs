//! Root spans are contexts of their own.

use logcontext::{ContextKind, LogContext, current_context};
use logcontext_tracing::{ContextSpans, SpanField};
use tracing::field::Empty;
use tracing::{Level, debug_span, info_span, trace_span};

use crate::support::{burn, here, is_about, measure, rig, rig_with};

#[test]
fn a_root_span_with_a_method_is_a_request_with_what_its_fields_say() {
    let rig = rig();
    let span = info_span!(
        "HTTP request",
        http.request.method = "PUT",
        url.path = "/presence/alice",
        http.route = "/presence/{user}",
        client.address = "127.0.0.1",
        user_agent.original = "curl/8",
        network.protocol.version = "1.1",
        request_id = "7f3a",
        trace_id = "4bf92f35",
        enduser.id = "@alice",
    );
    span.in_scope(|| tracing::info!("hello"));
    let line = &rig.lines()[0];
    for (key, value) in [
        ("context", "PUT-1"),
        ("label", "PUT /presence/{user}"),
        ("method", "PUT"),
        ("path", "/presence/alice"),
        ("client_address", "127.0.0.1"),
        ("user_agent", "curl/8"),
        ("protocol", "HTTP/1.1"),
        ("request_id", "7f3a"),
        ("trace_id", "4bf92f35"),
        ("user", "@alice"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    let context = span.in_scope(current_context);
    assert_eq!(context.kind(), ContextKind::Request);
}

#[test]
fn its_context_lives_from_its_making_until_it_is_closed() {
    let rig = rig();
    let span = info_span!("request", method = "GET", route = "/");
    assert_eq!(rig.totals("GET /").in_flight, 1, "before it was entered");
    let context = span.in_scope(current_context);
    assert!(!context.is_finished());
    let child = span.in_scope(|| info_span!("child"));
    drop(span);
    assert!(!context.is_finished(), "its child is open");
    drop(child);
    assert!(context.is_finished());
    drop(context);
    let totals = rig.totals("GET /");
    assert_eq!((totals.started, totals.in_flight, totals.ok), (1, 0, 1));
}

#[test]
fn what_was_burned_in_it_is_in_its_labels_totals() {
    measure(|| {
        let rig = rig();
        let mut burned = 0;
        for _ in 0..3 {
            info_span!("request", method = "GET", route = "/").in_scope(|| burned += burn(5_000_000));
        }
        let totals = rig.totals("GET /");
        assert_eq!((totals.kind, totals.started, totals.ok), (ContextKind::Request, 3, 3));
        totals.usage.cpu().map_or(Ok(()), |cpu| is_about(cpu, burned))
    });
}

#[test]
fn a_label_is_never_made_from_the_path() {
    let rig = rig();
    for number in 0..5 {
        info_span!("request", method = "GET", uri = format!("/users/{number}?q=1")).in_scope(|| ());
        info_span!("request", method = format!("BREW{number}"), path = format!("/pots/{number}"))
            .in_scope(|| ());
    }
    assert_eq!(rig.labels(), ["GET (unmatched)", "OTHER (unmatched)"]);
}

#[test]
fn the_query_of_a_path_is_left_out() {
    let rig = rig();
    info_span!("request", method = "GET", uri = %"http://localhost/login?password=secret#top")
        .in_scope(|| tracing::info!("hello"));
    assert_eq!(rig.lines()[0]["path"], "/login");
    info_span!("request", method = "GET", path = ?"/login?password=secret")
        .in_scope(|| tracing::info!("hello"));
    assert_eq!(rig.lines()[1]["path"], "/login");
}

#[test]
fn a_route_that_is_recorded_later_counts_once() {
    let rig = rig();
    let span = info_span!("request", method = ?"GET", http.route = Empty, enduser.id = Empty);
    span.record("http.route", "/presence/{user}");
    span.record("http.route", "/other");
    span.record("enduser.id", "@alice");
    span.in_scope(|| tracing::info!("hello"));
    drop(span);
    assert_eq!(rig.labels(), ["GET /presence/{user}"]);
    assert_eq!(rig.lines()[0]["user"], "@alice");
}

#[test]
fn opentelemetrys_name_is_the_label_where_there_is_no_route() {
    let rig = rig();
    info_span!("request", method = "GET", otel.name = "GET /a", otel.kind = "server").in_scope(|| ());
    info_span!("send", otel.name = "orders send").in_scope(|| assert_eq!(here(), "send-1"));
    assert_eq!(rig.labels(), ["GET /a", "orders send"]);
}

#[test]
fn a_call_to_somebody_else_is_no_request_of_ours() {
    let _rig = rig();
    let span = info_span!("call", method = "GET", uri = "https://elsewhere/", otel.kind = "client");
    let context = span.in_scope(current_context);
    assert_eq!((context.kind(), context.name()), (ContextKind::Task, "call-1"));
    assert!(context.request().is_none());
}

#[test]
fn a_root_span_without_a_method_is_a_task_totalled_by_its_name() {
    let rig = rig();
    for number in 1..=2 {
        info_span!("import").in_scope(|| assert_eq!(here(), format!("import-{number}")));
    }
    let totals = rig.totals("import");
    assert_eq!((totals.kind, totals.started, totals.ok), (ContextKind::Task, 2, 2));
}

#[test]
fn below_info_only_requests_are_contexts() {
    let rig = rig();
    debug_span!("details").in_scope(|| assert!(current_context().is_sentinel()));
    trace_span!("request", method = "GET").in_scope(|| assert_eq!(here(), "GET-1"));
    assert_eq!(rig.labels(), ["GET (unmatched)"]);
}

#[test]
fn a_span_inside_a_context_is_no_root() {
    let rig = rig();
    LogContext::builder("startup").label("startup").start().scope(|| {
        info_span!("request", method = "GET").in_scope(|| assert_eq!(here(), "startup"));
    });
    info_span!("outer").in_scope(|| {
        info_span!("inner", method = "GET").in_scope(|| assert_eq!(here(), "outer-1"));
    });
    assert_eq!(rig.labels(), ["startup", "outer"]);
}

#[test]
fn a_rule_decides_which_roots_are_contexts_and_fields_have_the_names_one_gives_them() {
    let spans = ContextSpans::new()
        .roots(|span| *span.level() == Level::DEBUG && span.target().starts_with("jobs"))
        .field(SpanField::Label, "job")
        .field(SpanField::Method, "verb")
        .field(SpanField::Path, "where");
    let rig = rig_with(spans);
    info_span!("other").in_scope(|| assert!(current_context().is_sentinel()));
    debug_span!(target: "jobs::daily", "run", job = "prune").in_scope(|| assert_eq!(here(), "run-1"));
    debug_span!(target: "jobs", "ask", verb = "GET", r#where = "/a").in_scope(|| assert_eq!(here(), "GET-1"));
    assert_eq!(rig.labels(), ["prune", "GET (unmatched)"]);
}

#[test]
fn failures_and_panics_are_told_from_success() {
    let rig = rig();
    let span = info_span!("request", method = "GET", route = "/", http.response.status_code = Empty);
    span.record("http.response.status_code", 503);
    drop(span);
    info_span!("request", method = "GET", route = "/", http.response.status_code = 404);
    info_span!("request", method = "GET", route = "/", otel.status_code = "ERROR");
    let panics = || info_span!("request", method = "GET", route = "/").in_scope(|| panic!("on purpose"));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(current_context().is_sentinel());
    let totals = rig.totals("GET /");
    assert_eq!((totals.ok, totals.failed, totals.panicked), (1, 2, 1));
}

#[test]
fn a_root_span_that_is_closed_logs_what_it_has_cost_if_it_is_told_to() {
    let rig = rig_with(ContextSpans::new().log_costs(true));
    let mut burned = 0;
    info_span!("request", method = "GET", route = "/").in_scope(|| {
        burned = burn(5_000_000);
        current_context().record_db_transaction(std::time::Duration::from_millis(2));
        let cost = logcontext::RemoteUsage::call().with_cpu(std::time::Duration::from_millis(3));
        current_context().record_remote(&cost);
    });
    let lines = rig.lines();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!((&line["remote_calls"], &line["remote_cpu"]), (&1.into(), &0.003.into()));
    assert_eq!(line["remote_unknown"], 0);
    assert_eq!((&line["context"], &line["label"]), (&"GET-1".into(), &"GET /".into()));
    assert_eq!((&line["target"], &line["level"]), (&"logcontext::span".into(), &"INFO".into()));
    assert_eq!((&line["db_txn_count"], &line["db_txn_duration"]), (&1.into(), &0.002.into()));
    if burned > 0 {
        assert!(line["cpu"].as_f64().unwrap() >= burned as f64 * 0.9 / 1e9, "{line}");
    }
}

#[test]
fn nothing_from_outside_reaches_a_line_unescaped_or_at_full_length() {
    let rig = rig();
    let long = "x".repeat(10_000);
    info_span!(
        "request",
        method = format!("G\nE\"T{long}"),
        path = format!("/a\n{long}"),
        user_agent = "a\u{1b}[31m"
    )
    .in_scope(|| tracing::info!("hello"));
    let line = &rig.lines()[0];
    assert!(line["path"].as_str().unwrap().len() <= 1_024);
    assert!(line["context"].as_str().unwrap().len() < 40);
}

#[test]
fn it_belongs_to_the_supervisor_of_its_thread_or_the_one_that_was_named() {
    let other = logcontext::Supervisor::new("other");
    let rig = rig_with(ContextSpans::new().supervisor(&other));
    info_span!("import").in_scope(|| assert_eq!(current_context().supervisor(), other));
    assert_eq!(other.totals().len(), 1);
    assert!(rig.labels().is_empty());
    drop(rig);
    let rig = crate::support::rig();
    info_span!("import").in_scope(|| assert_eq!(current_context().supervisor(), *rig.test.supervisor()));
}

//! Services as people write them who know nothing of contexts: with only the layer added.

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Path, Request};
use axum::response::Response;
use axum::routing::get;
use logcontext::current_context;
use tower::ServiceExt;
use tower_http::trace::TraceLayer;
use tracing::{Instrument, Span, info, info_span, instrument};

use crate::support::{Rig, burn, here, on_a_thread, on_both, rig, spawn};

async fn ask(app: &Router, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    // As a server does: each connection is a task of its own, in no context.
    let response: Response = spawn(app.clone().oneshot(request)).await.unwrap().unwrap();
    let body = spawn(axum::body::to_bytes(response.into_body(), 1_000)).await.unwrap().unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The handler, and what it calls.
async fn presence(Path(user): Path<String>) -> String {
    info!("asked");
    let devices = lookup(&user).await;
    let status = spawn(status().instrument(Span::current())).await.unwrap();
    let span = Span::current();
    #[expect(
        clippy::disallowed_methods,
        reason = "a service that knows nothing of contexts is what is tested"
    )]
    let read = tokio::task::spawn_blocking(move || span.in_scope(read)).await.unwrap();
    format!("{user} {devices} {status} {read}")
}

#[instrument(skip_all)]
async fn lookup(user: &str) -> usize {
    burn(3_000_000);
    tokio::task::yield_now().await;
    info!(devices = 2, "found");
    user.len()
}

async fn status() -> &'static str {
    burn(3_000_000);
    info!("status");
    "online"
}

#[instrument]
fn read() -> u64 {
    info!("read");
    u64::from(burn(3_000_000) > 0)
}

#[test]
fn an_axum_service_with_tower_https_trace_layer_has_contexts_labels_costs_and_lines() {
    on_both(|rig, runtime| {
        let app = Router::new().route("/presence/{user}", get(presence)).layer(TraceLayer::new_for_http());
        runtime.block_on(async {
            for _ in 0..3 {
                assert!(ask(&app, "/presence/alice?key=secret").await.starts_with("alice 5 online"));
            }
            assert_eq!(ask(&app, "/nothing/here").await, "");
        });
        // This layer does not know routes.
        expect_requests(rig, "GET (unmatched)", 4, 3);
    });
}

#[test]
fn a_service_that_tells_the_route_in_its_span_as_axums_examples_do_is_labelled_by_it() {
    on_both(|rig, runtime| {
        let trace = TraceLayer::new_for_http().make_span_with(|request: &Request| {
            let matched_path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
            info_span!("http_request", method = ?request.method(), uri = %request.uri(), matched_path)
        });
        let app = Router::new().route("/presence/{user}", get(presence)).layer(trace);
        runtime.block_on(async {
            for _ in 0..3 {
                ask(&app, "/presence/alice?key=secret").await;
            }
        });
        expect_requests(rig, "GET /presence/{user}", 3, 3);
    });
}

/// So many requests of this label, of which so many did the work.
fn expect_requests(rig: &Rig, label: &str, requests: u64, worked: u64) {
    let totals = rig.totals(label);
    assert_eq!((totals.started, totals.in_flight, totals.ok), (requests, 0, requests), "{totals:?}");
    if let Some(cpu) = totals.usage.cpu() {
        let bursts = cpu.as_secs_f64() / 0.003;
        let expected = 3.0 * worked as f64;
        assert!((expected * 0.95..expected * 1.6).contains(&bursts), "{bursts:.2}, not {expected}");
    }
    for message in ["asked", "found", "status", "read"] {
        let lines: Vec<_> = rig.lines().into_iter().filter(|line| line["message"] == message).collect();
        let mut contexts = Vec::new();
        for line in &lines {
            assert_eq!(
                (&line["method"], &line["path"]),
                (&"GET".into(), &"/presence/alice".into()),
                "{line}"
            );
            contexts.push(line["context"].as_str().unwrap().to_owned());
        }
        assert_eq!(contexts, (1..=worked).map(|n| format!("GET-{n}")).collect::<Vec<_>>(), "{message}");
    }
    assert!(
        !rig.lines().iter().any(|line| line.to_string().contains("secret") && line["message"] == "asked")
    );
    assert!(rig.test.reports().is_empty());
    assert!(current_context().is_sentinel());
}

#[test]
fn the_patterns_of_tracings_own_manual_have_contexts() {
    let rig = rig();
    // A guard.
    {
        let span = info_span!("guard");
        let _entered = span.enter();
        assert_eq!(here(), "guard-1");
    }
    // An owned one.
    let entered = info_span!("owned").entered();
    assert_eq!(here(), "owned-2");
    let span = entered.exit();
    assert!(current_context().is_sentinel());
    // A closure.
    assert_eq!(span.in_scope(here), "owned-2");
    // A function with the attribute, and the functions that it calls.
    #[instrument]
    fn outer() -> (String, String) {
        (here(), inner())
    }
    #[instrument(level = "debug")]
    fn inner() -> String {
        here()
    }
    assert_eq!(outer(), ("outer-3".to_owned(), "outer-3".to_owned()));
    // A thread.
    let seen = info_span!("parent").in_scope(|| {
        let span = Span::current();
        on_a_thread(move || {
            let _entered = span.entered();
            here()
        })
    });
    assert_eq!(seen, "parent-4");
    drop(span);
    let ended: u64 = rig.test.supervisor().totals().iter().map(|totals| totals.ok).sum();
    assert_eq!(ended, 4);
}

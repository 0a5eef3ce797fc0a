//! What the layer adds to each response: `Server`, `Server-Timing`, and the request's id.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::routing::get;
use logcontext::{current_context, testing};
use logcontext_http::{ConnectionInfo, ContextLayer, LabelLayer, server_timing};
use support::*;
use tower::{Layer, Service, ServiceExt};
use tracing::Level;

fn header(response: &str, name: &str) -> Vec<String> {
    let head = response.split("\r\n\r\n").next().unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(header, _)| *header == name).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn every_response_of_every_kind_names_its_server_once() {
    let test = testing::start();
    let routes = Router::new()
        .route("/", get(|| async { "ok" }))
        .route("/user/{number}", get(|_: Path<u32>| async { "ok" }))
        .route("/named", get(|| async { ([("server", "another")], "ok") }))
        .route("/fails", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/stream", get(|| async { streamed(&["one", "two"]) }))
        .route("/late", get(|| async { StatusCode::GATEWAY_TIMEOUT }))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/panic", get(|| async { panic!("planned") as () }));
    let layer = ContextLayer::new().server_header(HeaderValue::from_static("presence/0.1.0"));
    let app = layer.layer(routes.layer(LabelLayer::new()));
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        for (request, status) in [
            ("GET /", "200"),
            ("HEAD /", "200"),
            ("POST /", "405"),
            ("OPTIONS /", "405"),
            ("GET /nowhere", "404"),
            ("GET /user/alice", "400"),
            ("GET /named", "200"),
            ("GET /fails", "500"),
            ("GET /late", "504"),
            ("GET /stream", "200"),
            ("GET /nothing", "204"),
            ("GET /panic", "500"),
        ] {
            let response = server.ask(request, "").await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {response}");
            assert_eq!(header(&response, "server"), ["presence/0.1.0"], "{request}: {response}");
        }
        server.stop().await;
    });
}

#[test]
fn what_is_no_request_is_answered_by_the_http_library_without_it() {
    let test = testing::start();
    let layer = ContextLayer::new().server_header(HeaderValue::from_static("presence/0.1.0"));
    runtime(&test).block_on(async {
        let server = Server::start(&test, Router::new().layer(layer)).await;
        let mut client = server.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"garbage\r\n\r\n").await.unwrap();
        let response = client.rest().await;
        assert!(response.starts_with("HTTP/1.1 400"), "{response}");
        assert_eq!(header(&response, "server"), [""; 0], "documented: nothing of ours has seen it");
        server.stop().await;
    });
}

/// Answers with costs of its own making.
async fn costly(_: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
    let context = current_context();
    context.record_db_transaction(Duration::from_micros(1_234));
    context.record_db_wait(Duration::from_millis(5));
    let mut response = http::Response::new(Body::from("ok"));
    response.headers_mut().insert("server-timing", HeaderValue::from_static("cache;desc=hit"));
    Ok(response)
}

fn asked_from(peer: Option<&str>) -> http::Request<Body> {
    let mut request = http::Request::new(Body::empty());
    if let Some(peer) = peer {
        let connection = ConnectionInfo::new(peer.parse().unwrap(), "127.0.0.1:8008".parse().unwrap());
        request.extensions_mut().insert(connection);
    }
    request
}

fn timings(layer: ContextLayer, request: http::Request<Body>) -> Vec<String> {
    let test = testing::start();
    let service = layer.supervisor(test.supervisor()).layer(tower::service_fn(costly));
    let response = test.current_thread().block_on(service.oneshot(request)).unwrap();
    let values = response.headers().get_all("server-timing").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_response_has_cost_is_told_to_those_who_may_see_it_beside_the_handlers_own() {
    let timings = timings(ContextLayer::new().server_timing(server_timing::always), asked_from(None));
    assert_eq!(timings.len(), 2, "{timings:?}");
    assert_eq!(timings[0], "cache;desc=hit");
    let times: Vec<_> = timings[1].split(", ").filter_map(|time| time.split_once(";dur=")).collect();
    let names: Vec<_> = times.iter().map(|(name, _)| *name).collect();
    if cfg!(target_os = "linux") {
        assert_eq!(names, ["cpu", "db", "db_wait", "total"]);
        assert!(times[0].1.parse::<f64>().unwrap() > 0.0, "{}", timings[1]);
    }
    assert!(timings[1].contains("db;dur=1.234, db_wait;dur=5.000, total;dur="), "{}", timings[1]);
    assert!(timings[1].ends_with(", db_txns;desc=\"1 transactions\""), "{}", timings[1]);
}

#[test]
fn what_a_response_has_cost_is_told_to_nobody_else() {
    let own = ["cache;desc=hit"];
    assert_eq!(timings(ContextLayer::new(), asked_from(Some("127.0.0.1:5"))), own);
    let loopback = || ContextLayer::new().server_timing(server_timing::loopback_clients);
    assert_eq!(timings(loopback(), asked_from(Some("192.0.2.7:5"))), own);
    assert_eq!(timings(loopback(), asked_from(None)), own);
    assert_eq!(timings(loopback(), asked_from(Some("127.0.0.1:5"))).len(), 2);
    assert_eq!(timings(loopback(), asked_from(Some("[::ffff:127.0.0.1]:5"))).len(), 2);
    let staff = || ContextLayer::new().server_timing(|request| request.headers.contains_key("x-staff"));
    assert_eq!(timings(staff(), asked_from(None)), own);
    let mut request = asked_from(None);
    request.headers_mut().insert("x-staff", HeaderValue::from_static("yes"));
    assert_eq!(timings(staff(), request).len(), 2);
}

#[test]
fn what_is_not_known_is_left_out_of_the_times() {
    let test = testing::start();
    let service = ContextLayer::new().supervisor(test.supervisor()).server_timing(server_timing::always);
    let service = service.layer(tower::service_fn(|_: http::Request<()>| async {
        // waiting and connecting together: how much of it was waiting, nobody knows
        current_context().record_db_acquire(Duration::from_millis(3));
        Ok::<_, Infallible>(http::Response::new(String::new()))
    }));
    let response = test.current_thread().block_on(service.oneshot(http::Request::new(()))).unwrap();
    let timing = response.headers()["server-timing"].to_str().unwrap();
    assert!(!timing.contains("db_wait") && timing.contains("total;dur="), "{timing}");
}

/// What the handler, the response and the log say the request's id is.
fn ids(request: http::Request<()>) -> (String, Option<String>, testing::Test) {
    let test = testing::start();
    let layer = ContextLayer::new()
        .supervisor(test.supervisor())
        .request_id_header(HeaderName::from_static("x-request-id"));
    let mut service = layer.layer(tower::service_fn(|_: http::Request<()>| async {
        let id = current_context().request_id().unwrap().to_owned();
        let mut response = http::Response::new(String::new());
        response.headers_mut().insert("x-seen", id.parse().unwrap());
        Ok::<_, Infallible>(response)
    }));
    let response = test.current_thread().block_on(service.call(request)).unwrap();
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    (header("x-seen").unwrap(), header("x-request-id"), test)
}

#[test]
fn a_request_is_called_what_whoever_is_in_front_calls_it() {
    let longest = "x".repeat(64);
    for id in ["7f3a", "A-z_0.9", "-", &longest] {
        let request = http::Request::get("/").header("x-request-id", id).body(()).unwrap();
        let (seen, sent, test) = ids(request);
        assert_eq!((&*seen, sent.as_deref()), (id, Some(id)));
        assert_eq!(access_line(&test).context.name(), "GET-1");
        assert!(test.records().iter().all(|record| record.target == "logcontext::access"));
    }
}

#[test]
fn a_bad_request_id_is_replaced_by_our_own_and_noted_without_it_getting_out() {
    let long = "x".repeat(65);
    let bad: [&[u8]; 7] = [b"", b"a b", b"a\"b\tc", b"a/b", b"caf\xc3\xa9", b"\xff\xfe", long.as_bytes()];
    for id in bad {
        let value = HeaderValue::from_bytes(id).unwrap();
        let (seen, sent, test) = ids(http::Request::get("/").header("x-request-id", value).body(()).unwrap());
        assert_eq!((&*seen, sent.as_deref()), ("GET-1", Some("GET-1")), "{id:?}");
        let notes = test.records();
        let note = &notes[0];
        assert_eq!((note.level, note.context.name()), (Level::INFO, "GET-1"));
        assert!(note.message.contains("at most 64 of A-Z a-z 0-9 . _ -"), "{}", note.message);
        assert_eq!(note.field("header"), Some("x-request-id"));
        let given = note.field("given").unwrap();
        assert!(given.len() <= 64 && !given.contains(char::is_control), "{given:?}");
    }
    let (_, _, test) = ids(http::Request::get("/").header("x-request-id", "a\"b\tc").body(()).unwrap());
    assert_eq!(test.records()[0].field("given"), Some(r#"a\"b\tc"#));
}

#[test]
fn two_request_ids_are_as_bad_as_none() {
    let request =
        http::Request::get("/").header("x-request-id", "a").header("x-request-id", "b").body(()).unwrap();
    let (seen, sent, test) = ids(request);
    assert_eq!((&*seen, sent.as_deref()), ("GET-1", Some("GET-1")));
    assert_eq!(test.records_at(Level::INFO).len(), 2);
}

#[test]
fn our_own_request_id_is_one_whatever_the_method() {
    let (seen, sent, test) = ids(http::Request::builder().method("M!#$%&'*+").body(()).unwrap());
    assert_eq!(seen.len(), 32);
    assert_eq!(sent, Some(seen.clone()));
    assert_eq!(access_line(&test).context.request().unwrap().trace(), Some(&*seen));
}

#[test]
fn without_a_trusted_header_nobody_tells_us_our_ids() {
    let test = testing::start();
    let service = ContextLayer::new().supervisor(test.supervisor()).layer(tower::service_fn(costly));
    let request = http::Request::get("/").header("x-request-id", "mine").body(Body::empty()).unwrap();
    let response = test.current_thread().block_on(service.oneshot(request)).unwrap();
    assert_eq!(response.headers().get("x-request-id"), None);
    drop(response);
    assert_eq!(access_line(&test).context.request_id(), Some("GET-1"));
}

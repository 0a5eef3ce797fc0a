//! What gets into the log of what clients send: what may be shown, and nothing that breaks a line, in both formats.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use logcontext::testing::{self, Record};
use logcontext::{FutureExt, Supervisor};
use logcontext_http::{ConnectionInfo, ContextLayer, set_user};
use serde_json::Value;
use tower::{Layer, ServiceExt};

/// Says who asks, and something of its own in between.
async fn handler(_: http::Request<()>) -> Result<http::Response<String>, Infallible> {
    set_user("@a}\n\"b");
    tracing::info!("working");
    Ok(http::Response::new("ok".into()))
}

/// One request, to the end of its response.
async fn ask<S, B>(service: S, request: http::Request<()>)
where
    S: tower::Service<http::Request<()>, Response = http::Response<B>, Error = Infallible>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
}

/// The records of one request.
fn records(layer: ContextLayer, uri: &'static str) -> Vec<Record> {
    let test = testing::start();
    let service = layer.supervisor(test.supervisor()).layer(tower::service_fn(handler));
    test.current_thread().block_on(ask(service, http::Request::get(uri).body(()).unwrap()));
    test.records()
}

fn path(record: &Record) -> &str {
    record.context.request().unwrap().path()
}

#[test]
fn a_service_says_what_of_path_and_query_may_be_logged() {
    let layer = || {
        ContextLayer::new().redact(|path, query| match (path.strip_prefix("/invite/"), query) {
            (Some(_), _) => "/invite/<redacted>".into(),
            (None, Some(query)) => format!("{path}?{}", query.replace("secret", "...")).into(),
            (None, None) => path.into(),
        })
    };
    for (uri, shown) in [
        ("/invite/secret?secret", "/invite/<redacted>"),
        ("/login?token=secret", "/login?token=..."),
        ("/presence/alice", "/presence/alice"),
        ("https://example.org/presence/alice?secret", "/presence/alice?..."),
    ] {
        let records = records(layer(), uri);
        assert_eq!(records.len(), 2);
        for record in &records {
            assert_eq!(path(record), shown);
            assert!(!format!("{record:?} {:?}", record.context.request()).contains("secret"), "{record:?}");
        }
        assert!(records[1].message.contains(&format!("\"GET {shown} HTTP/1.1\"")), "{}", records[1].message);
    }
}

#[test]
fn if_nobody_says_the_query_stays_out() {
    for record in records(ContextLayer::new(), "/login?token=secret") {
        assert_eq!(path(&record), "/login");
        assert!(!format!("{record:?}").contains("secret"));
    }
}

#[test]
fn where_redacting_panics_nothing_is_shown_and_the_request_goes_on() {
    let layer = ContextLayer::new().redact(|_, _| panic!("planned"));
    let records = records(layer, "/invite/secret");
    let messages: Vec<_> = records.iter().map(|record| &*record.message).collect();
    assert_eq!(messages[..2], ["panicked: planned", "working"]);
    assert!(messages[2].contains(" 2B 200 \"GET - HTTP/1.1\""), "{}", messages[2]);
    assert!(records.iter().all(|record| record.context.name() == "GET-1"));
}

#[test]
fn quiet_paths_are_the_real_ones() {
    let layer = ContextLayer::new().quiet_paths(["/health"]).redact(|_, _| "x".into());
    let records = records(layer, "/health");
    assert_eq!((records[1].level, path(&records[1])), (tracing::Level::DEBUG, "x"));
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that is logged of a request that means ill, in this format.
fn log_of_an_evil_request(json: bool) -> String {
    let kept = Kept::default();
    let builder = logcontext_tracing::builder().panic_hook(false).writer(kept.clone());
    let (dispatch, guard) = if json { builder.json() } else { builder.text() }.build().unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        let supervisor = Supervisor::new("evil");
        let header = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let request = http::Request::builder()
            .method("BR'%`EW")
            .uri("/a\"b\\%0a{x}\u{e4}")
            .header("user-agent", header(b"evil\"\t\xc2\x9b31m\xe2\x80\xae\xe2\x80\xa8GET-2 \\"))
            .header("x-request-id", header(b"id\"\t\xff\xe2\x80\xa8 x"))
            .header("traceparent", header(b"00-\xff\"\t"))
            .extension(ConnectionInfo::new("192.0.2.7:1".parse().unwrap(), "127.0.0.1:8008".parse().unwrap()))
            .body(())
            .unwrap();
        let layer = ContextLayer::new()
            .supervisor(&supervisor)
            .request_id_header(HeaderName::from_static("x-request-id"))
            // What a service shows instead may be worse than what the client has sent.
            .redact(|path, _| format!("{path}\n\u{1b}[31m\u{85}").into());
        let service = layer.layer(tower::service_fn(handler));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ask(service, request).in_context(supervisor.context("test").start()));
    });
    assert!(guard.flush());
    let log = kept.0.lock().unwrap().clone();
    String::from_utf8(log).unwrap()
}

#[track_caller]
fn assert_three_clean_lines(log: &str) {
    let unclean = |ch: char| ch.is_control() || ('\u{2028}'..='\u{202e}').contains(&ch);
    let lines: Vec<_> = log.strip_suffix('\n').unwrap().split('\n').collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines.iter().all(|line| !line.contains(unclean)), "{log}");
}

#[test]
fn nothing_from_outside_breaks_a_line_of_text() {
    let log = log_of_an_evil_request(false);
    assert_three_clean_lines(&log);
    assert!(log.contains("request id replaced"), "{log}");
    assert!(log.contains(r#"{@a\}\n"b} Processed request"#), "{log}");
    assert!(log.contains(r#""BR'%`EW /a\"b\\%0a{x}ä\n\u{1b}[31m\u{85} HTTP/1.1""#), "{log}");
}

#[test]
fn nothing_from_outside_breaks_a_line_of_json() {
    let log = log_of_an_evil_request(true);
    assert_three_clean_lines(&log);
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for record in &records {
        assert_eq!(record["context"], "BR'%`EW-1");
        assert_eq!(record["method"], "BR'%`EW");
        assert_eq!(record["path"], "/a\"b\\%0a{x}\u{e4}\n\u{1b}[31m\u{85}");
        assert_eq!(record["user_agent"], "evil\"\t\u{9b}31m\u{202e}\u{2028}GET-2 \\");
        assert_eq!(record["client_address"], "192.0.2.7");
        assert_eq!(record["protocol"], "HTTP/1.1");
        // our own, for the method makes a bad one
        assert_eq!(record["request_id"], record["trace_id"]);
        assert_eq!(record["trace_id"].as_str().unwrap().len(), 32);
    }
    assert_eq!(records[2]["user"], "@a}\n\"b");
    assert_eq!((&records[2]["bytes"], &records[2]["status"]), (&2.into(), &200.into()), "{log}");
    for field in ["status", "complete", "outcome", "bytes", "label", "listener", "processing_seconds"] {
        assert!(!records[2][field].is_null() || !records[2]["fields"][field].is_null(), "{field}: {log}");
    }
}

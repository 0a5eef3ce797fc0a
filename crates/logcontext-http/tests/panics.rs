//! A handler that panics: a 500, one report in the request's context, and a context that ends as panicked.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http_body::Frame;
use hyper::body::Incoming;
use logcontext::testing::{self, Record, Test};
use logcontext::{ContextKind, Ending};
use logcontext_http::ContextLayer;
use support::*;
use tower::{Layer, service_fn};
use tracing::Level;

/// Asks for these paths, one after the other: the responses, and the access lines.
fn ask<S, B>(test: &Test, service: S, paths: &[&str]) -> (Vec<String>, Vec<Record>)
where
    S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let responses = runtime(test).block_on(async {
        let server = Server::start(test, service).await;
        let mut responses = Vec::new();
        for path in paths {
            responses.push(server.get(path).await);
        }
        server.stop().await;
        responses
    });
    (responses, access_lines(test))
}

/// The only report, which is at error level and in this request's context.
#[track_caller]
fn assert_reported_once(test: &Test, context: &str) {
    let errors = test.records_at(Level::ERROR);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!((&*errors[0].message, errors[0].context.name()), ("panicked: planned", context));
    assert_eq!(errors[0].target, "logcontext::panic");
}

#[test]
fn a_handler_that_panics_is_answered_for_and_reported_once_in_its_context() {
    for late in [false, true] {
        let test = testing::start();
        let service = ContextLayer::new().layer(service_fn(move |_: http::Request<Incoming>| {
            // before there is a future, or in it
            assert!(late, "planned");
            async {
                tokio::task::yield_now().await;
                if true {
                    panic!("planned");
                }
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        }));
        let (responses, lines) = ask(&test, service, &["/"]);
        assert!(responses[0].starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{}", responses[0]);
        assert!(responses[0].contains("content-length: 0\r\n"), "{}", responses[0]);
        assert!(lines[0].message.contains(" 0B 500 \"GET / HTTP/1.1\""), "{}", lines[0].message);
        assert_eq!((lines[0].field("outcome"), lines[0].field("complete")), (Some("panicked"), Some("true")));
        assert_eq!(lines[0].context.ending(), Some(Ending::Panicked));
        assert_reported_once(&test, "GET-1");
    }
}

#[test]
fn it_is_counted_and_its_connection_goes_on() {
    let test = testing::start();
    let app = Router::new()
        .route("/panic", get(|| async { panic!("planned") as () }))
        .route("/", get(|| async { "ok" }))
        .layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        client.send("GET /panic", "").await;
        client.until("\r\n\r\n").await;
        client.send("GET /", "").await;
        client.until("\r\n\r\nok").await;
        drop(client);
        let (served, _) = server.stop().await;
        assert_eq!(served.connections, 1);
    });
    let panics = totals(&test, ContextKind::Request, "GET /panic");
    assert_eq!((panics.panicked, panics.failed, panics.ok, panics.in_flight), (1, 0, 0, 0));
    assert_eq!(totals(&test, ContextKind::Connection, "http").panicked, 0);
    assert_reported_once(&test, "GET-1");
}

#[test]
fn the_service_says_what_is_answered_for_it() {
    let test = testing::start();
    let layer = ContextLayer::new().panic_response(|panic| {
        assert_eq!((panic.message(), panic.is_reported()), ("planned", true));
        assert_eq!(logcontext::current_context().name(), "GET-1");
        (StatusCode::SERVICE_UNAVAILABLE, Json("sorry")).into_response()
    });
    let app = Router::new().route("/", get(|| async { panic!("planned") as () })).layer(layer);
    let (responses, lines) = ask(&test, app, &["/"]);
    assert!(responses[0].starts_with("HTTP/1.1 503 "), "{}", responses[0]);
    assert!(responses[0].contains("content-type: application/json\r\n"), "{}", responses[0]);
    assert!(responses[0].ends_with("\r\n\r\n\"sorry\""), "{}", responses[0]);
    assert!(lines[0].message.contains(" 7B 503 \"GET / HTTP/1.1\""), "{}", lines[0].message);
    assert_eq!(lines[0].field("outcome"), Some("panicked"));
    assert_reported_once(&test, "GET-1");
}

#[test]
fn a_response_that_panics_itself_is_replaced_and_reported_as_well() {
    let test = testing::start();
    let layer = ContextLayer::new().panic_response(|_| -> Response { panic!("planned, too") });
    let service = layer.layer(service_fn(|_: http::Request<Incoming>| async {
        if true {
            panic!("planned");
        }
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let (responses, lines) = ask(&test, service, &["/"]);
    assert!(responses[0].starts_with("HTTP/1.1 500 "), "{}", responses[0]);
    let errors: Vec<_> = test.records_at(Level::ERROR).into_iter().map(|record| record.message).collect();
    assert_eq!(errors, ["panicked: planned", "panicked: planned, too"]);
    assert_eq!(lines[0].field("outcome"), Some("panicked"));
}

/// A chunk, then a panic.
struct Panics(usize);

impl http_body::Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(self.0 > 0, "planned");
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"half")))))
    }
}

#[test]
fn a_body_that_panics_breaks_the_connection_off_and_is_reported_once_in_its_requests_context() {
    let test = testing::start();
    let service = ContextLayer::new().layer(service_fn(|_: http::Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Body::new(Panics(1))))
    }));
    let (responses, lines) = ask(&test, service, &["/"]);
    assert!(!responses[0].ends_with("0\r\n\r\n"), "{}", responses[0]);
    assert!(lines[0].message.contains("B 200! \"GET / HTTP/1.1\""), "{}", lines[0].message);
    assert_eq!((lines[0].field("outcome"), lines[0].field("complete")), (Some("panicked"), Some("false")));
    assert_reported_once(&test, "GET-1");
    assert_eq!(totals(&test, ContextKind::Connection, "http").panicked, 1);
}

/// A future that panics when it is dropped before it is done.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "planned");
    }
}

#[test]
fn a_handler_that_panics_when_its_client_leaves_is_counted_as_panicked() {
    let test = testing::start();
    let asked = std::sync::Arc::new(tokio::sync::Notify::new());
    let handler = {
        let asked = std::sync::Arc::clone(&asked);
        move || async move {
            let _held = PanicsOnDrop;
            asked.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let app = Router::new().route("/", get(handler)).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        client.send("GET /", "").await;
        asked.notified().await;
        drop(client);
        server.stop().await;
    });
    assert_eq!(access_line(&test).field("outcome"), Some("panicked"));
    assert_eq!(totals(&test, ContextKind::Request, "GET /").panicked, 1);
    assert_eq!(test.records_at(Level::ERROR).len(), 1);
}

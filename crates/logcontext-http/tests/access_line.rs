//! What the access line says.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{any, get, put};
use http_body_util::StreamBody;
use logcontext::testing::{Record, Test};
use logcontext::{ContextKind, EVT_DB_FETCH_COUNT, current_context, testing};
use logcontext_http::{ContextLayer, set_user};
use support::*;
use tokio::sync::Notify;
use tracing::Level;

/// The access line of one request.
fn line_of(test: &Test, app: Router, request_line: &str, headers: &str) -> Record {
    runtime(test).block_on(async {
        let server = Server::start(test, app.layer(ContextLayer::new())).await;
        server.ask(request_line, headers).await;
        server.stop().await;
    });
    let line = access_line(test);
    assert_eq!(line.level, Level::INFO);
    assert_eq!(line.context.kind(), ContextKind::Request);
    assert!(line.context.is_finished());
    line
}

#[test]
fn it_says_who_asked_for_what_and_what_it_cost() {
    let test = testing::start();
    let handler = |Path(user): Path<String>| async move {
        set_user(format!("@{user}"));
        let context = current_context();
        context.record_db_wait(Duration::from_millis(1));
        context.record_db_transaction(Duration::from_millis(2));
        context.record_db_transaction(Duration::from_millis(2));
        context.add(&EVT_DB_FETCH_COUNT, 3);
        "x".repeat(123)
    };
    let app = Router::new().route("/presence/{user}", put(handler));
    let line = line_of(&test, app, "PUT /presence/alice?token=secret", "user-agent: curl/8\r\n");
    assert_eq!(
        without_times(&line.message.replace("db=(0.001sec/0.004sec/2)", "db=as expected")),
        "127.0.0.1 - P - {@alice} Processed request: T/T ru=(T, T) db=as expected 123B 200 \
         \"PUT /presence/alice HTTP/1.1\" \"curl/8\" [3 dbevts]"
    );
    assert_eq!(line.context.name(), "PUT-1");
    for (field, value) in [
        ("status", "200"),
        ("complete", "true"),
        ("outcome", "\"ok\""),
        ("bytes", "123"),
        ("label", "\"PUT /presence/{user}\""),
        ("db_wait_seconds", "0.001"),
        ("db_txn_seconds", "0.004"),
        ("db_txn_count", "2"),
        ("evt_db_fetch_count", "3"),
    ] {
        assert_eq!(line.field(field), Some(value.trim_matches('"')), "{field}");
    }
    assert!(line.field("connection").unwrap().starts_with("connection-"));
    for time in ["processing_seconds", "sending_seconds", "cpu_user_seconds", "cpu_system_seconds"] {
        assert!(line.field(time).unwrap().parse::<f64>().unwrap() < 10.0, "{time}");
    }
}

#[test]
fn the_listener_is_called_what_the_service_calls_it_else_by_its_port() {
    let test = testing::start();
    let runtime = runtime(&test);
    for tag in [None, Some("federation")] {
        let layer = ContextLayer::new();
        let layer = match tag {
            Some(tag) => layer.listener_tag(tag),
            None => layer,
        };
        let app = Router::new().route("/", get(|| async {})).layer(layer);
        let port = runtime.block_on(async {
            let server = Server::start(&test, app).await;
            server.get("/").await;
            server.address.port().to_string()
        });
        let listener = tag.map_or(port, str::to_owned);
        let line = access_lines(&test).pop().unwrap();
        assert!(line.message.starts_with(&format!("127.0.0.1 - {listener} - {{-}} ")), "{}", line.message);
        assert_eq!(line.field("listener"), Some(&*listener));
    }
}

#[test]
fn a_head_request_is_complete_without_its_body() {
    let test = testing::start();
    // Without a router, which answers HEAD itself.
    let service = tower::Layer::layer(
        &ContextLayer::new(),
        tower::service_fn(|_: http::Request<hyper::body::Incoming>| async {
            Ok::<_, Infallible>(Response::new(Body::from("not sent")))
        }),
    );
    runtime(&test).block_on(async {
        let server = Server::start(&test, service).await;
        let response = server.ask("HEAD /", "").await;
        assert!(response.contains("content-length: 8\r\n") && response.ends_with("\r\n\r\n"), "{response}");
        server.stop().await;
    });
    let line = access_line(&test);
    assert!(line.message.contains(" 0B 200 \"HEAD / HTTP/1.1\""), "{}", line.message);
    assert_eq!((line.field("complete"), line.field("outcome")), (Some("true"), Some("ok")));
}

#[test]
fn a_head_request_to_a_route_is_complete() {
    let test = testing::start();
    let line = line_of(&test, Router::new().route("/", get(|| async { "not sent" })), "HEAD /", "");
    assert!(line.message.contains(" 0B 200 \"HEAD / HTTP/1.1\""), "{}", line.message);
}

#[test]
fn a_response_without_a_body_is_complete() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let test = testing::start();
        let app = Router::new().route("/", get(move || async move { status }));
        let line = line_of(&test, app, "GET /", "");
        assert!(
            line.message.contains(&format!(" 0B {} \"GET / HTTP/1.1\"", status.as_u16())),
            "{}",
            line.message
        );
    }
}

#[test]
fn a_body_that_must_not_be_sent_is_not_missed() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let test = testing::start();
        let app = Router::new().route("/", get(move || async move { (status, "more than was asked for") }));
        let line = line_of(&test, app, "GET /", "");
        assert!(
            line.message.contains(&format!(" 0B {} \"GET / HTTP/1.1\"", status.as_u16())),
            "{}",
            line.message
        );
    }
}

#[test]
fn a_streamed_body_is_counted_to_its_end() {
    let test = testing::start();
    let app = Router::new().route("/", get(|| async { streamed(&["four", "and", "twenty"]) }));
    let line = line_of(&test, app, "GET /", "");
    assert!(line.message.contains(" 13B 200 "), "{}", line.message);
    assert!(line.field("sending_seconds").is_some());
}

#[test]
fn a_streamed_body_of_known_length_is_complete_when_that_much_was_sent() {
    let test = testing::start();
    let app =
        Router::new().route("/", get(|| async { ([("content-length", "7")], streamed(&["four", "and"])) }));
    let line = line_of(&test, app, "GET /", "");
    assert!(line.message.contains(" 7B 200 "), "{}", line.message);
}

#[test]
fn a_500_is_a_failure() {
    let test = testing::start();
    let app = Router::new().route("/", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "sorry") }));
    let line = line_of(&test, app, "GET /", "");
    assert!(line.message.contains(" 5B 500 "), "{}", line.message);
    assert_eq!(line.field("outcome"), Some("failed"));
}

#[test]
fn a_service_that_answers_with_an_error_has_failed_without_a_status() {
    let test = testing::start();
    let service = tower::Layer::layer(
        &ContextLayer::new(),
        tower::service_fn(|_: http::Request<hyper::body::Incoming>| async {
            Err::<Response, _>(std::io::Error::other("no"))
        }),
    );
    runtime(&test).block_on(async {
        let server = Server::start(&test, service).await;
        assert_eq!(server.get("/").await, "");
        server.stop().await;
    });
    let line = access_line(&test);
    assert!(line.message.contains(" 0B 500! "), "{}", line.message);
    assert_eq!((line.field("status"), line.field("outcome")), (None, Some("failed")));
}

#[test]
fn a_body_that_breaks_off_has_failed() {
    let test = testing::start();
    let app = Router::new().route(
        "/",
        get(|| async {
            let frames =
                [Ok(http_body::Frame::data(Bytes::from_static(b"half"))), Err(std::io::Error::other("no"))];
            Body::new(StreamBody::new(tokio_stream(frames)))
        }),
    );
    let line = line_of(&test, app, "GET /", "");
    assert!(line.message.contains(" 4B 200! "), "{}", line.message);
    assert_eq!(line.field("outcome"), Some("failed"));
}

fn tokio_stream<T>(
    items: impl IntoIterator<Item = T, IntoIter: Unpin>,
) -> impl futures_core::Stream<Item = T> {
    struct Iter<I>(I);
    impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
        type Item = I::Item;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Iter(items.into_iter())
}

#[test]
fn a_client_that_leaves_before_the_headers_leaves_no_time_of_sending() {
    let test = testing::start();
    let asked = Arc::new(Notify::new());
    let handler = {
        let asked = Arc::clone(&asked);
        move || async move {
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
    let line = access_line(&test);
    assert_eq!(
        without_times(&line.message),
        "127.0.0.1 - P - {-} Processed request: T/- ru=(T, T) db=(T/T/0) 0B 499! \"GET / HTTP/1.1\" \"-\" [0 dbevts]"
    );
    assert_eq!(line.field("status"), None);
    assert_eq!(line.field("sending_seconds"), None);
    assert_eq!((line.field("complete"), line.field("outcome")), (Some("false"), Some("cancelled")));
    assert!(test.records().iter().all(|record| record.level >= Level::INFO), "{:#?}", test.records());
}

#[test]
fn a_client_that_leaves_in_the_middle_of_the_body_is_marked_so() {
    let test = testing::start();
    let app = Router::new()
        .route(
            "/",
            get(|| async {
                let (sender, receiver) = tokio::sync::mpsc::channel(1);
                sender
                    .send(Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"half"))))
                    .await
                    .unwrap();
                Body::new(StreamBody::new(Endless(receiver, sender)))
            }),
        )
        .layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        client.send("GET /", "").await;
        client.until("half\r\n").await;
        drop(client);
        server.stop().await;
    });
    let line = access_line(&test);
    assert_eq!(
        without_times(&line.message),
        "127.0.0.1 - P - {-} Processed request: T/T ru=(T, T) db=(T/T/0) 4B 200! \"GET / HTTP/1.1\" \"-\" [0 dbevts]"
    );
    assert_eq!((line.field("status"), line.field("outcome")), (Some("200"), Some("cancelled")));
    assert!(test.records().iter().all(|record| record.level >= Level::INFO), "{:#?}", test.records());
}

/// What is in the channel, and then nothing: its sender is at hand.
struct Endless<T>(
    tokio::sync::mpsc::Receiver<T>,
    #[expect(dead_code, reason = "kept")] tokio::sync::mpsc::Sender<T>,
);

impl<T> futures_core::Stream for Endless<T> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}

#[test]
fn health_checks_and_options_are_at_debug_level() {
    let test = testing::start();
    let app = Router::new()
        .route("/health", any(|| async { "ok" }))
        .route("/presence", any(|| async { "ok" }))
        .layer(ContextLayer::new().quiet_paths(["/health", "/ready"]));
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        for request in ["GET /health", "GET /ready", "OPTIONS /presence", "GET /presence", "GET /health/"] {
            server.ask(request, "").await;
        }
        server.stop().await;
    });
    let levels: Vec<_> = access_lines(&test).iter().map(|line| line.level).collect();
    assert_eq!(levels, [Level::DEBUG, Level::DEBUG, Level::DEBUG, Level::INFO, Level::INFO]);
}

#[test]
fn nothing_a_client_sends_breaks_the_line() {
    let test = testing::start();
    let app = Router::new().fallback(|| async { "ok" }).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        let mut request = b"GET /a\"b HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_vec();
        request.extend_from_slice(b"user-agent: x\" [0 dbevts]\t\xff\xc2\x85\xe2\x80\xae\\ ");
        request.extend_from_slice(&[b'y'; 5_000]);
        request.extend_from_slice(b"\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &request).await.unwrap();
        assert!(client.rest().await.starts_with("HTTP/1.1 200"));
        server.stop().await;
    });
    let line = access_line(&test).message;
    assert!(line.contains(r#" "GET /a\"b HTTP/1.1" "#), "{line}");
    assert!(line.contains(r#" "x\" [0 dbevts]\t"#), "{line}");
    assert!(line.contains("\u{fffd}\\u{85}\\u{202e}\\\\ yyy"), "{line}");
    assert!(line.ends_with("y…\" [0 dbevts]") && line.len() < 600, "{line}");
    assert!(!line.contains(|c: char| c.is_control()), "{line}");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_own_request_is_no_error() {
    for reset in [false, true] {
        let test = testing::start();
        let asked = Arc::new(Notify::new());
        let handler = {
            let asked = Arc::clone(&asked);
            move |request: axum::extract::Request| async move {
                asked.notify_one();
                // What axum's extractors answer when they cannot read the body.
                let body = axum::body::to_bytes(request.into_body(), 1_000).await;
                body.map_err(|_| StatusCode::BAD_REQUEST)
            }
        };
        let app = Router::new().route("/", put(handler)).layer(ContextLayer::new());
        runtime(&test).block_on(async {
            let server = Server::start(&test, app).await;
            let mut client = server.connect().await;
            client.send("PUT /", "content-length: 100\r\n").await;
            tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"a few").await.unwrap();
            asked.notified().await;
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            server.stop().await;
        });
        let line = access_line(&test);
        assert!(line.message.contains(" 400! \"PUT / HTTP/1.1\""), "{}", line.message);
        assert_eq!((line.field("outcome"), line.field("complete")), (Some("cancelled"), Some("false")));
        assert!(test.records().iter().all(|record| record.level >= Level::INFO), "{:#?}", test.records());
    }
}

#[test]
fn of_a_client_that_closes_its_end_at_once_the_line_says_what_it_gets() {
    let test = testing::start();
    let app = Router::new().route("/", put(|body: Bytes| async move { body })).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        for _ in 0..30 {
            let before = access_lines(&test).len();
            let mut client = server.connect().await;
            let request = b"PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";
            tokio::io::AsyncWriteExt::write_all(&mut client.stream, request).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
            let answered = client.rest().await.ends_with("\r\n\r\nhello");
            // The HTTP library takes it for gone as soon as it sees that, which may be before anything else.
            let lines = access_lines(&test);
            let complete = lines[before..].iter().any(|line| line.field("complete") == Some("true"));
            assert_eq!(complete, answered, "{:#?}", &lines[before..]);
        }
        server.stop().await;
    });
}

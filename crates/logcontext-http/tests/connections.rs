//! A context per connection.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::routing::get;
use axum::{Extension, Router};
use logcontext::{ContextKind, background, current_context, testing};
use logcontext_http::{ConnectionInfo, ContextLayer, Listener, ServeOptions, serve};
use support::*;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tracing::Level;

fn app() -> Router {
    Router::new().route("/", get(|| async { "ok" })).layer(ContextLayer::new())
}

#[test]
fn connections_are_totalled_by_their_listener() {
    let test = testing::start();
    for (listeners, runtime) in
        [["client", "federation"], ["metrics", "admin"]].into_iter().zip(runtimes(&test))
    {
        runtime.block_on(async {
            for (listener, connections) in listeners.into_iter().zip([1, 3]) {
                let server = Server::start_with(&test, app(), ServeOptions::default().name(listener)).await;
                for _ in 0..connections {
                    let mut client = server.connect().await;
                    for _ in 0..2 {
                        client.send("GET /", "").await;
                        client.until("ok").await;
                    }
                    client.send("GET /", "connection: close\r\n").await;
                    client.rest().await;
                }
                while totals(&test, ContextKind::Connection, listener).in_flight > 0 {
                    tokio::task::yield_now().await;
                }
                let totals = totals(&test, ContextKind::Connection, listener);
                assert_eq!((totals.started, totals.ok), (connections, connections), "{totals:#?}");
            }
        });
    }
    assert_eq!(totals(&test, ContextKind::Request, "GET /").started, 2 * (3 + 9));
}

#[test]
fn a_connection_is_listed_while_it_lasts_and_the_access_line_names_it() {
    let test = testing::start();
    runtime(&test).block_on(async {
        let server = Server::start(&test, app()).await;
        let mut client = server.connect().await;
        client.send("GET /", "").await;
        client.until("ok").await;
        let running = server.supervisor.running();
        let connection =
            running.iter().find(|running| running.context.kind() == ContextKind::Connection).expect("listed");
        assert!(connection.context.name().starts_with("connection-"));
        assert_eq!(connection.context.label(), Some("http"));
        assert_eq!(access_line(&test).field("connection"), Some(connection.context.name()));
        server.stop().await;
        assert!(connection.context.is_finished());
    });
}

#[test]
fn a_handler_sees_both_ends_of_its_connection() {
    let test = testing::start();
    let handler = |Extension(info): Extension<ConnectionInfo>| async move {
        format!("{:?} {:?}", info.peer(), info.local())
    };
    let app = Router::new().route("/", get(handler));
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        let (peer, local) = (client.stream.local_addr().unwrap(), server.address);
        client.send("GET /", "connection: close\r\n").await;
        assert!(client.rest().await.ends_with(&format!("\r\n\r\n{:?} {:?}", Some(peer), Some(local))));
    });
}

#[test]
fn without_a_layer_a_handler_runs_in_the_connections_context() {
    let test = testing::start();
    let app = Router::new().route("/", get(|| async { current_context().name().to_owned() }));
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        assert!(server.get("/").await.contains("\r\n\r\nconnection-"));
        server.stop().await;
    });
}

#[test]
fn clients_may_be_given_all_the_time_that_there_is() {
    let test = testing::start();
    runtime(&test).block_on(async {
        let router = Router::new().route("/", get(|| async { "here" })).layer(ContextLayer::new());
        let options = ServeOptions::default().header_read_timeout(Duration::MAX);
        let server = Server::start_with(&test, router, options).await;
        let answer = server.get("/").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        server.stop().await;
    });
}

/// Has one client, within the process: then time can stand still.
struct OneClient(Option<DuplexStream>);

impl Listener for OneClient {
    type Stream = DuplexStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(DuplexStream, ConnectionInfo)>> {
        self.0.take().map_or(Poll::Pending, |stream| Poll::Ready(Ok((stream, ConnectionInfo::unix()))))
    }
}

#[test]
fn the_time_for_the_head_of_a_request_is_not_its_handlers_and_begins_anew_with_each() {
    const LIMIT: Duration = Duration::from_secs(10);
    let test = testing::start();
    let sleepy = || async {
        tokio::time::sleep(5 * LIMIT).await;
        "awake"
    };
    let app = Router::new().route("/", get(|| async { "here" })).route("/sleepy", get(sleepy));
    let app = app.layer(ContextLayer::new());
    test.current_thread().block_on(async {
        tokio::time::pause();
        let (stream, io) = tokio::io::duplex(1_000);
        let options = ServeOptions::default().supervisor(test.supervisor()).header_read_timeout(LIMIT);
        let server = background::run("http", serve(OneClient(Some(io)), app, options));
        let mut client = Client { stream };
        for _ in 0..3 {
            client.send("GET /sleepy", "").await;
            client.until("\r\n\r\nawake").await;
            tokio::time::sleep(LIMIT * 9 / 10).await;
            client.send("GET /", "").await;
            client.until("\r\n\r\nhere").await;
        }
        let start = tokio::time::Instant::now();
        // The server says goodbye to who says no more.
        assert_eq!(client.rest().await, "");
        assert_eq!(start.elapsed().as_secs(), LIMIT.as_secs());
        test.supervisor().shutdown(LIMIT).await;
        assert_eq!(server.await.unwrap().unwrap().connections, 1);
    });
}

#[test]
fn what_is_wrong_with_clients_is_logged_at_debug_level_in_the_context_of_their_connection() {
    let test = testing::start();
    let reading = Router::new().route(
        "/",
        get(|request: Request| async {
            axum::body::to_bytes(request.into_body(), 1_000).await.map_err(|_| http::StatusCode::BAD_REQUEST)
        }),
    );
    let reading = reading.layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let options = ServeOptions::default().header_read_timeout(Duration::from_millis(20));
        let server = Server::start_with(&test, reading, options).await;

        let mut nonsense = server.connect().await;
        nonsense.stream.write_all(b"\x16\x03\x01 what\r\n\r\n").await.unwrap();
        assert!(nonsense.rest().await.starts_with("HTTP/1.1 400"));

        let mut slow = server.connect().await;
        slow.stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        assert_eq!(slow.rest().await, "");

        let mut cut_short = server.connect().await;
        cut_short.send("GET /", "content-length: 100\r\n").await;
        cut_short.stream.write_all(b"a few").await.unwrap();
        cut_short.reset();

        let mut half_a_line = server.connect().await;
        half_a_line.stream.write_all(b"GET").await.unwrap();
        drop(half_a_line);
        drop(server.connect().await);

        while totals(&test, ContextKind::Connection, "http").started < 5 {
            tokio::task::yield_now().await;
        }
        server.stop().await;
    });
    let connections = totals(&test, ContextKind::Connection, "http");
    assert_eq!((connections.started, connections.in_flight, connections.panicked), (5, 0, 0));
    assert_eq!(connections.failed, 1, "the nonsense: {connections:#?}");
    let broken: Vec<_> =
        test.records().into_iter().filter(|record| record.target == "logcontext::http").collect();
    assert!(broken.len() >= 2, "{broken:#?}");
    for record in test.records() {
        assert!(record.level >= Level::INFO, "{record:#?}");
        assert!(!record.context.is_sentinel(), "{record:#?}");
    }
    assert!(broken.iter().all(|record| record.context.kind() == ContextKind::Connection), "{broken:#?}");
}

#[test]
fn who_finds_no_place_waits_until_somebody_leaves() {
    let test = testing::start();
    runtime(&test).block_on(async {
        let server = Server::start_with(&test, app(), ServeOptions::default().max_connections(1)).await;
        let mut first = server.connect().await;
        first.send("GET /", "").await;
        first.until("ok").await;
        let mut second = server.connect().await;
        second.send("GET /", "connection: close\r\n").await;
        for _ in 0..20 {
            first.send("GET /", "").await;
            first.until("ok").await;
        }
        assert_eq!(totals(&test, ContextKind::Connection, "http").started, 1);
        drop(first);
        assert!(second.rest().await.ends_with("ok"));
        server.stop().await;
    });
}

/// Counts how often it is put around something.
#[derive(Clone)]
struct Counted(Arc<AtomicUsize>);

impl<S> tower::Layer<S> for Counted {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        self.0.fetch_add(1, Relaxed);
        inner
    }
}

#[test]
fn a_router_is_put_together_once_and_not_with_each_request() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        runtime.block_on(async {
            let layered = Arc::new(AtomicUsize::new(0));
            let server = Server::start(&test, app().layer(Counted(Arc::clone(&layered)))).await;
            let mut counts = Vec::new();
            for _ in 0..2 {
                let mut client = server.connect().await;
                for _ in 0..2 {
                    client.send("GET /", "").await;
                    client.until("ok").await;
                    counts.push(layered.load(Relaxed));
                }
            }
            assert!(counts[0] > 0 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        });
    }
}

//! How serving ends.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use logcontext::{ContextKind, background, testing};
use logcontext_http::{ContextLayer, ServeOptions};
use support::*;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tracing::Level;

/// `/wait` says that it was asked, and waits until it may answer; `/` answers.
fn waiting(asked: &Arc<Notify>, go: &Arc<Notify>) -> Router {
    let (asked, go) = (Arc::clone(asked), Arc::clone(go));
    let wait = move || async move {
        asked.notify_one();
        go.notified().await;
        "done"
    };
    Router::new().route("/wait", get(wait)).route("/", get(|| async { "ok" })).layer(ContextLayer::new())
}

#[test]
fn a_request_in_flight_is_answered_and_nobody_else_is_let_in() {
    let test = testing::start();
    for (runtime, one_thread) in runtimes(&test).into_iter().zip([true, false]) {
        let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        // A supervisor is shut down once.
        let supervisor = logcontext::Supervisor::new("draining");
        let options = ServeOptions::default().supervisor(&supervisor);
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = waiting(&asked, &go);
            let served = background::run("serve", logcontext_http::serve(listener, app, options));
            let mut client = Client::connect(address).await;
            client.send("GET /wait", "").await;
            asked.notified().await;

            let stopping = supervisor.clone();
            let shutdown = background::run("stop", async move {
                assert!(stopping.shutdown(DEADLINE).await.aborted.is_empty());
            });
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            go.notify_one();
            let response = client.rest().await;
            assert!(response.ends_with("\r\n\r\ndone"), "{response}");
            // On several, the answer may be on its way before its connection hears of the shutdown.
            assert!(response.contains("connection: close\r\n") || !one_thread, "{response}");
            shutdown.await.unwrap();
            assert_eq!(served.await.unwrap().unwrap().aborted, 0);
        });
        let line = access_lines(&test).pop().unwrap();
        assert_eq!(line.field("outcome"), Some("ok"));
    }
}

#[test]
fn to_drain_is_enough_to_let_nobody_in_and_background_processes_go_on() {
    let test = testing::start();
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = waiting(&asked, &go);
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        client.send("GET /wait", "").await;
        asked.notified().await;
        server.supervisor.drain();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let startup = server.supervisor.context("startup").start();
        assert_eq!(startup.scope(|| background::run("tidy", async { 1 })).await, Ok(1));
        go.notify_one();
        assert!(client.rest().await.ends_with("\r\n\r\ndone"));
        let served = server.served.await.unwrap().unwrap();
        assert_eq!(served.aborted, 0);
        assert!(!server.supervisor.is_shutting_down());
    });
}

#[test]
fn a_stuck_request_is_cut_off_at_the_deadline() {
    let test = testing::start();
    let asked = Arc::new(Notify::new());
    let app = waiting(&asked, &Arc::default());
    runtime(&test).block_on(async {
        let options = ServeOptions::default().shutdown_deadline(Duration::from_millis(20));
        let server = Server::start_with(&test, app, options).await;
        let mut client = server.connect().await;
        client.send("GET /wait", "").await;
        asked.notified().await;
        let (served, shutdown) = server.stop().await;
        assert_eq!((served.connections, served.aborted), (1, 1));
        assert!(shutdown.aborted.is_empty(), "{shutdown:?}");
        assert_eq!(client.rest().await, "");
    });
    assert_eq!(access_line(&test).field("outcome"), Some("cancelled"));
    let connections = totals(&test, ContextKind::Connection, "http");
    assert_eq!((connections.in_flight, connections.cancelled), (0, 1));
    let warnings = test.records_at(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(warnings[0].field("connections"), Some("1"));
    assert_eq!(warnings[0].context.name(), "accept-http");
}

#[test]
fn what_the_supervisor_cuts_off_first_is_cancelled_as_well() {
    let test = testing::start();
    let asked = Arc::new(Notify::new());
    let app = waiting(&asked, &Arc::default());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        client.send("GET /wait", "").await;
        asked.notified().await;
        let shutdown = server.supervisor.shutdown(Duration::from_millis(20)).await;
        let aborted: Vec<_> = shutdown.aborted.iter().map(|running| running.context.kind()).collect();
        assert!(aborted.contains(&ContextKind::Connection), "{shutdown:#?}");
        assert_eq!(client.rest().await, "");
    });
    assert_eq!(access_line(&test).field("outcome"), Some("cancelled"));
    for (kind, label) in
        [(ContextKind::Connection, "http"), (ContextKind::Task, "http"), (ContextKind::Request, "GET /wait")]
    {
        let totals = totals(&test, kind, label);
        assert_eq!((totals.in_flight, totals.cancelled), (0, 1), "{totals:#?}");
    }
}

#[test]
fn idle_connections_are_closed_at_once() {
    let test = testing::start();
    runtime(&test).block_on(async {
        let server = Server::start(&test, waiting(&Arc::default(), &Arc::default())).await;
        let mut used = server.connect().await;
        used.send("GET /", "").await;
        used.until("ok").await;
        let unused = server.connect().await;
        while totals(&test, ContextKind::Connection, "http").started < 2 {
            tokio::task::yield_now().await;
        }
        let (served, _) = server.stop().await;
        assert_eq!((served.connections, served.aborted), (2, 0));
        assert_eq!((used.rest().await, unused.rest().await), (String::new(), String::new()));
    });
    assert_eq!(totals(&test, ContextKind::Connection, "http").ok, 2);
    assert_eq!(totals(&test, ContextKind::Task, "http").ok, 1);
}

#[test]
fn when_the_server_is_dropped_requests_in_flight_are_answered() {
    let test = testing::start();
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = waiting(&asked, &go);
    runtime(&test).block_on(async {
        // A connection that hears nothing of it stays open.
        let options = ServeOptions::default().header_read_timeout(Duration::MAX);
        let server = Server::start_with(&test, app, options).await;
        let mut client = server.connect().await;
        client.send("GET /wait", "").await;
        asked.notified().await;
        server.served.abort();
        assert!(server.served.await.is_err());
        go.notify_one();
        let response = tokio::time::timeout(DEADLINE, client.rest()).await.expect("the connection is closed");
        assert!(response.ends_with("\r\n\r\ndone"));
    });
    assert_eq!(access_line(&test).field("outcome"), Some("ok"));
}

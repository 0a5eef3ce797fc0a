//! A healthy service with clients as they are raises no diagnostic and logs no error.

#![cfg(all(unix, feature = "axum", feature = "tls"))]

mod support;

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::get;
use logcontext::testing::{self, Test};
use logcontext::{ContextKind, background, current_context, run_in_background};
use logcontext_http::{BodyLimitLayer, ContextLayer, ServeOptions, set_user};
use support::kinds::{self, Door, Files, Io, Kind};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tracing::Level;

const CLIENTS: usize = 20;
const REQUESTS: usize = 50;

fn app() -> Router {
    let background = || async {
        run_in_background(async { tokio::task::yield_now().await });
        set_user("@alice");
        tracing::info!("working");
    };
    let nested = || async {
        let lookup = current_context().nested("lookup");
        logcontext::FutureExt::in_context(tokio::task::yield_now(), lookup).await;
        streamed(&["one", "two", "three"])
    };
    Router::new()
        .route("/", get(|| async { "ok" }).put(|body: Bytes| async move { body }))
        .route("/background", get(background))
        .route("/stream", get(nested))
        .route("/fails", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/hang", get(std::future::pending::<()>))
        .route("/large", get(|| async { large() }))
        .layer(BodyLimitLayer::new().max_size(1_000).timeout(DEADLINE))
        .layer(ContextLayer::new())
}

/// Two of three stay to the end.
async fn request(door: &Door, number: usize) {
    let mut client = door.connect().await;
    let close = "connection: close\r\n";
    match number % 18 {
        0 => client.send("GET /hang", "").await,
        3 => {
            client.send("GET /hang", "").await;
            tokio::task::yield_now().await;
            client.stream.reset();
        }
        6 => {
            client.send("GET /large", "").await;
            client.until("xxx").await;
        }
        9 => {
            client.send("GET /large", "").await;
            client.until("xxx").await;
            client.stream.reset();
        }
        12 => client.stream.write_all(b"GET / HTTP/1.1\r\nhost: x").await.unwrap(),
        // In the middle of a handshake, or of its first request.
        16 => door.raw().await.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap(),
        15 => {
            client.send("PUT /", "content-length: 100\r\n").await;
            client.stream.write_all(b"a few").await.unwrap();
        }
        1 | 7 => {
            client.send("GET /", "").await;
            client.until("ok").await;
            client.send("PUT /", "content-length: 5\r\nconnection: close\r\n").await;
            client.stream.write_all(b"hello").await.unwrap();
            assert!(client.rest().await.ends_with("hello"));
        }
        2 | 4 => {
            client.send("GET /background", close).await;
            assert!(client.rest().await.starts_with("HTTP/1.1 200"));
        }
        5 | 8 => {
            client.send("GET /stream", close).await;
            assert!(client.rest().await.ends_with("three\r\n0\r\n\r\n"));
        }
        13 => {
            client.send("PUT /", "content-length: 2000\r\n").await;
            assert!(client.rest().await.starts_with("HTTP/1.1 413"));
        }
        10 => {
            client.send("GET /fails", close).await;
            assert!(client.rest().await.starts_with("HTTP/1.1 500"));
        }
        11 => {
            client.send("GET /nowhere", close).await;
            assert!(client.rest().await.starts_with("HTTP/1.1 404"));
        }
        _ => {
            client.send("HEAD /", close).await;
            assert!(client.rest().await.ends_with("\r\n\r\n"));
        }
    }
}

fn storm(kind: Kind, test: &Test, runtime: &Runtime) {
    // On a busy machine any thread may have to wait for long: that is not the service's fault.
    test.supervisor().set_slow_poll_limit(DEADLINE);
    runtime.block_on(async {
        let files = Files::new();
        let (server, door) = kinds::start(kind, &files, test, app(), ServeOptions::default()).await;
        let client = |client| {
            let door = door.clone();
            background::run("client", async move {
                for number in 0..REQUESTS {
                    request(&door, client * REQUESTS + number).await;
                }
            })
        };
        let crowd = test.supervisor().context("crowd").start();
        let clients: Vec<_> = crowd.scope(|| (0..CLIENTS).map(client).collect());
        crowd.finish();
        for client in clients {
            client.await.expect("no client panics");
        }
        // Those that leave in the middle of a handshake have been there before, and asked for nothing.
        let connections = (0..CLIENTS * REQUESTS).map(|number| if number % 18 == 16 { 2 } else { 1 }).sum();
        // The last to come may have left before anybody has let them in.
        while totals(test, ContextKind::Connection, "http").started < connections {
            tokio::task::yield_now().await;
        }
        let (served, shutdown) = server.stop().await;
        assert_eq!((served.connections, served.aborted), (connections, 0));
        assert!(shutdown.aborted.is_empty(), "{shutdown:#?}");
    });
    let totals = test.supervisor().totals();
    let of_kind = |kind| totals.iter().filter(move |totals| totals.kind == kind);
    let requests: u64 = of_kind(ContextKind::Request).map(|totals| totals.started).sum();
    assert!(totals.iter().all(|totals| totals.in_flight == 0 && totals.panicked == 0), "{totals:#?}");
    assert!(totals.iter().all(|totals| totals.after_finish < Duration::from_secs(1)), "{totals:#?}");

    let lines = access_lines(test);
    assert_eq!(lines.len() as u64, requests);
    let outcomes = |outcome| lines.iter().filter(|line| line.field("outcome") == Some(outcome)).count();
    let failed: u64 = of_kind(ContextKind::Request).map(|totals| totals.failed).sum();
    assert_eq!(outcomes("failed") as u64, failed);
    assert!(outcomes("cancelled") > CLIENTS * REQUESTS / 10, "{} cancelled", outcomes("cancelled"));
    assert_eq!(outcomes("panicked"), 0);
    for record in test.records() {
        assert!(record.level >= Level::INFO, "{record:#?}");
        assert!(!record.context.is_sentinel(), "{record:#?}");
    }
}

macro_rules! storms {
    ($($name:ident: $kind:expr, $runtime:expr;)*) => {$(
        #[test]
        fn $name() {
            let test = testing::start();
            storm($kind, &test, &runtimes(&test)[$runtime]);
        }
    )*};
}

storms! {
    a_thousand_mixed_requests_raise_nothing_on_one_thread: Kind::Tcp, 0;
    a_thousand_mixed_requests_raise_nothing_on_several_workers: Kind::Tcp, 1;
    a_thousand_mixed_requests_raise_nothing_on_one_thread_over_unix_sockets: Kind::Unix, 0;
    a_thousand_mixed_requests_raise_nothing_on_several_workers_over_unix_sockets: Kind::Unix, 1;
    a_thousand_mixed_requests_raise_nothing_on_one_thread_over_tls: Kind::TlsOverTcp, 0;
    a_thousand_mixed_requests_raise_nothing_on_several_workers_over_tls: Kind::TlsOverTcp, 1;
    a_thousand_mixed_requests_raise_nothing_on_one_thread_over_tls_on_unix_sockets: Kind::TlsOverUnix, 0;
    a_thousand_mixed_requests_raise_nothing_on_several_workers_over_tls_on_unix_sockets: Kind::TlsOverUnix, 1;
}

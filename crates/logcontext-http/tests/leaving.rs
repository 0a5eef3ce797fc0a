//! Clients that leave while their request is under way are noticed, over listeners of every kind and at every stage; and
//! who looks for them takes nothing away from those who stay.

#![cfg(all(unix, feature = "axum", feature = "tls"))]

mod support;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use logcontext::{ContextKind, Ending, Supervisor, testing};
use logcontext_http::{ContextLayer, ServeOptions};
use support::kinds::{Files, Io, KINDS, start, start_under};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

/// What is asked for, and what the client reads before it leaves.
struct Stage {
    request: &'static str,
    headers: &'static str,
    body: &'static str,
    until: Option<&'static str>,
    status: Option<u16>,
}

const STAGES: [Stage; 5] = [
    Stage { request: "GET /never", headers: "", body: "", until: None, status: None },
    Stage {
        request: "POST /never",
        headers: "content-length: 5\r\n",
        body: "whole",
        until: None,
        status: None,
    },
    Stage {
        request: "POST /read",
        headers: "content-length: 5\r\n",
        body: "whole",
        until: None,
        status: None,
    },
    Stage {
        request: "POST /read",
        headers: "transfer-encoding: chunked\r\n",
        body: "5\r\nwhole\r\n0\r\n\r\n",
        until: None,
        status: None,
    },
    Stage { request: "GET /begun", headers: "", body: "", until: Some("begun\r\n"), status: Some(200) },
];

async fn begun() -> Response {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("begun"))]);
    Response::new(Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending())))
}

fn app(supervisor: &Supervisor, asked: &Arc<Notify>) -> Router {
    let never = {
        let asked = Arc::clone(asked);
        move || async move {
            asked.notify_one();
            pending::<()>().await;
        }
    };
    let read = {
        let asked = Arc::clone(asked);
        move |request: Request| async move {
            axum::body::to_bytes(request.into_body(), 100).await.unwrap();
            asked.notify_one();
            pending::<()>().await;
        }
    };
    Router::new()
        .route("/never", get(never.clone()).post(never))
        .route("/read", post(read))
        .route("/begun", get(begun))
        .layer(ContextLayer::new().supervisor(supervisor))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect(what);
}

#[test]
fn who_leaves_is_noticed_at_every_stage_and_the_request_is_cancelled() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            for (stage, is_rude) in STAGES.iter().flat_map(|stage| [(stage, false), (stage, true)]) {
                let supervisor = Supervisor::new("leaving");
                let asked = Arc::new(Notify::new());
                runtime.block_on(async {
                    let files = Files::new();
                    let app = app(&supervisor, &asked);
                    let options = ServeOptions::default();
                    let (_server, door) = start_under(kind, &files, &supervisor, app, options).await;
                    let mut client = door.connect().await;
                    // At once: of a body that comes later and that nobody reads, the server does not see the end.
                    let &Stage { request, headers, body, .. } = stage;
                    let asks = format!("{request} HTTP/1.1\r\nhost: test\r\n{headers}\r\n{body}");
                    client.stream.write_all(asks.as_bytes()).await.unwrap();
                    match stage.until {
                        Some(until) => drop(client.until(until).await),
                        None => asked.notified().await,
                    }
                    if is_rude {
                        Io::reset(&client.stream);
                    }
                    drop(client);
                    let context = || {
                        let all = supervisor.totals();
                        all.into_iter().find(|totals| totals.kind == ContextKind::Request)
                    };
                    until(request, || context().is_some_and(|totals| totals.in_flight == 0)).await;
                    let totals = context().unwrap();
                    assert_eq!((totals.started, totals.cancelled), (1, 1), "{kind:?} {}", stage.request);
                });
            }
        }
    }
    let lines = access_lines(&test);
    for (line, stage) in lines.iter().zip(STAGES.iter().flat_map(|stage| [stage, stage]).cycle()) {
        let status = stage.status.map(|status| status.to_string());
        assert_eq!(line.field("status"), status.as_deref(), "{}", stage.request);
        assert_eq!(line.field("outcome"), Some("cancelled"));
    }
    assert_eq!(lines.len(), 2 * KINDS.len() * 2 * STAGES.len());
}

#[test]
fn a_response_that_nobody_takes_is_given_up_when_its_client_leaves() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            let supervisor = Supervisor::new("leaving");
            runtime.block_on(async {
                let files = Files::new();
                let app = Router::new().route("/", get(|| async { Response::new(large()) }));
                let app = app.layer(ContextLayer::new().supervisor(&supervisor));
                let (_server, door) =
                    start_under(kind, &files, &supervisor, app, ServeOptions::default()).await;
                let mut client = door.connect().await;
                client.send("GET /", "").await;
                client.until("\r\n\r\n").await;
                // Says goodbye, without having read what is on its way.
                client.stream.shutdown().await.unwrap();
                let is_over = || {
                    let all = supervisor.totals();
                    all.iter().any(|totals| totals.kind == ContextKind::Request && totals.cancelled == 1)
                };
                until("the response is given up", is_over).await;
            });
        }
    }
}

#[test]
fn what_is_said_ahead_is_the_next_request() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
                let slow = {
                    let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
                    move || async move {
                        asked.notify_one();
                        go.notified().await;
                        "slow"
                    }
                };
                let echo = |body: String| async move { body };
                let app = Router::new().route("/slow", get(slow)).route("/echo", post(echo));
                let files = Files::new();
                let app = app.layer(ContextLayer::new());
                let (_server, door) = start(kind, &files, &test, app, ServeOptions::default()).await;
                let mut client = door.connect().await;
                client.send("GET /slow", "").await;
                asked.notified().await;
                // In pieces, each of which is seen while the first request is under way.
                let next =
                    "POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 500\r\n\r\n";
                let body: String = (0..100).map(|i| format!("{i:04} ")).collect();
                for piece in [&next[..3], &next[3..40], &next[40..], &body[..7], &body[7..]] {
                    client.stream.write_all(piece.as_bytes()).await.unwrap();
                    client.stream.flush().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                go.notify_one();
                assert!(client.until("\r\n\r\nslow").await.starts_with("HTTP/1.1 200"));
                assert!(client.rest().await.ends_with(&format!("\r\n\r\n{body}")), "{kind:?}");
            });
        }
    }
    let ok = |line: &testing::Record| line.field("outcome") == Some("ok");
    assert!(access_lines(&test).iter().all(ok));
}

#[test]
fn who_leaves_after_their_answer_has_left_nothing_undone() {
    let test = testing::start();
    for (at, runtime) in runtimes(&test).into_iter().enumerate() {
        for kind in KINDS {
            let name = format!("{kind:?}-{at}");
            runtime.block_on(async {
                let files = Files::new();
                let app = Router::new().route("/", get(|| async { "ok" })).layer(ContextLayer::new());
                let options = ServeOptions::default().name(&*name);
                let (_server, door) = start(kind, &files, &test, app, options).await;
                for (headers, is_rude) in
                    [("", false), ("connection: close\r\n", false), ("", true)].repeat(20)
                {
                    let mut client = door.connect().await;
                    client.send("GET /", headers).await;
                    client.until("\r\n\r\nok").await;
                    if is_rude {
                        Io::reset(&client.stream);
                    }
                }
                let is_over = || totals(&test, ContextKind::Connection, &name).in_flight == 0;
                until("all connections are closed", is_over).await;
            });
            let connections = totals(&test, ContextKind::Connection, &name);
            assert_eq!((connections.started, connections.ok), (60, 60), "{name}");
        }
    }
    assert!(access_lines(&test).iter().all(|line| line.context.ending() == Some(Ending::Ok)));
}

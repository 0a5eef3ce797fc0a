//! Upgraded connections outlive their request, and cost on.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use logcontext::testing::{self, Record, Test};
use logcontext::{ContextKind, Ending, Outcome, Supervisor, current_context};
use logcontext_http::{ContextLayer, upgraded};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, service_fn};
use tracing::Level;

type Socket = TokioIo<Upgraded>;

/// What axum's `WebSocketUpgrade::on_upgrade` does, and wants of its callback.
fn on_upgrade<C, F>(upgrade: OnUpgrade, callback: C)
where
    C: FnOnce(Socket) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "what axum does")]
    tokio::spawn(async move {
        if let Ok(io) = upgrade.await {
            callback(TokioIo::new(io)).await;
        }
    });
}

/// Upgrades each request, and has its callback run as axum does: in a task of its own that knows no context.
fn upgrading<F>(
    supervisor: &Supervisor,
    serve: impl Fn(Socket) -> F + Clone + Send + Sync + 'static,
) -> impl tower::Service<
    http::Request<Incoming>,
    Response = http::Response<
        impl http_body::Body<Data = bytes::Bytes, Error = axum::Error> + Send + 'static,
    >,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static
where
    F: Future<Output: Outcome + Send> + Send + 'static,
{
    ContextLayer::new().supervisor(supervisor).layer(service_fn(
        move |mut request: http::Request<Incoming>| {
            current_context().set_label("GET /socket");
            let callback = upgraded(serve.clone());
            let upgrade = hyper::upgrade::on(&mut request);
            on_upgrade(upgrade, callback);
            async {
                let mut response = http::Response::new(Body::empty());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                for (name, value) in [("connection", "upgrade"), ("upgrade", "echo")] {
                    response.headers_mut().insert(name, http::HeaderValue::from_static(value));
                }
                Ok::<_, Infallible>(response)
            }
        },
    ))
}

async fn upgrade(server: &Server) -> Client {
    let mut client = server.connect().await;
    client.send("GET /socket", "connection: upgrade\r\nupgrade: echo\r\n").await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    client
}

async fn echo(mut socket: Socket) -> std::io::Result<()> {
    let context = current_context();
    assert_eq!(context.name(), "GET-1-upgraded");
    context.record_db_transaction(Duration::from_millis(3));
    let mut byte = [0];
    while socket.read(&mut byte).await? > 0 {
        socket.write_all(&byte).await?;
    }
    Ok(())
}

fn ends(test: &Test) -> Vec<Record> {
    test.records().into_iter().filter(|record| record.message == "upgraded connection ended").collect()
}

async fn until_nothing_runs(supervisor: &Supervisor) {
    while !supervisor.running().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_upgraded_connection_has_costs_of_its_own_which_are_its_requests_after_its_finish() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        let supervisor = Supervisor::new("upgrades");
        runtime.block_on(async {
            let server = Server::start(&test, upgrading(&supervisor, echo)).await;
            let mut client = upgrade(&server).await;
            client.stream.write_all(b"hello").await.unwrap();
            client.until("hello").await;
            let running = supervisor.running();
            assert_eq!(running.len(), 1, "{running:?}");
            assert_eq!(running[0].context.name(), "GET-1-upgraded");
            assert!(running[0].context.parent().is_finished(), "the request is over");
            assert!(running[0].origin.file().ends_with("tests/upgrades.rs"));
            drop(client);
            until_nothing_runs(&supervisor).await;
        });
        let end = ends(&test).pop().unwrap();
        assert_eq!((end.level, end.context.name()), (Level::INFO, "GET-1-upgraded"));
        assert_eq!((end.field("outcome"), end.field("db_txn_count")), (Some("ok"), Some("1")));
        assert_eq!(end.context.ending(), Some(Ending::Ok));
        let request = end.context.parent();
        assert_eq!((request.name(), request.kind()), ("GET-1", ContextKind::Request));
        assert_eq!(request.usage().db_txn_count, 1);
        let totals = supervisor.totals();
        let totals = totals.iter().find(|totals| totals.kind == ContextKind::Request).unwrap();
        assert_eq!(totals.label.as_deref(), Some("GET /socket"));
        assert_eq!((totals.ok, totals.usage.db_txn_count), (1, 1));
        if let (Some(cpu), Some(own)) = (request.cpu_after_finish(), end.context.usage().cpu()) {
            assert!(cpu > Duration::ZERO && own > Duration::ZERO);
            assert!(totals.after_finish > Duration::ZERO);
        }
    }
    let line = access_lines(&test).pop().unwrap();
    assert!(line.message.contains(" 0B 101 \"GET /socket HTTP/1.1\""), "{}", line.message);
    assert!(test.records().iter().all(|record| record.level >= Level::INFO), "{:#?}", test.records());
}

#[test]
fn a_failure_and_a_panic_are_logged_once_with_the_line_that_upgraded() {
    for panics in [false, true] {
        let test = testing::start();
        let serve = move |_: Socket| async move {
            assert!(!panics, "planned");
            Err::<(), _>("planned")
        };
        runtime(&test).block_on(async {
            let server = Server::start(&test, upgrading(test.supervisor(), serve)).await;
            assert_eq!(upgrade(&server).await.rest().await, "");
            server.stop().await;
        });
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!((errors[0].context.name(), errors[0].field("error")), ("GET-1-upgraded", Some("planned")));
        assert!(errors[0].field("started_at").unwrap().contains("tests/upgrades.rs"));
        let outcome = if panics { "panicked" } else { "failed" };
        assert_eq!(ends(&test).pop().unwrap().field("outcome"), Some(outcome));
    }
}

#[test]
fn a_shutdown_waits_for_upgraded_connections_and_ends_them_at_its_deadline() {
    let test = testing::start();
    runtime(&test).block_on(async {
        let server = Server::start(&test, upgrading(test.supervisor(), echo)).await;
        let client = upgrade(&server).await;
        let shutdown = server.supervisor.shutdown(Duration::from_millis(20)).await;
        let aborted: Vec<_> = shutdown.aborted.iter().map(|running| running.context.name()).collect();
        assert_eq!(aborted, ["GET-1-upgraded"]);
        assert_eq!(client.rest().await, "");
    });
    assert_eq!(ends(&test).pop().unwrap().field("outcome"), Some("cancelled"));
}

#[test]
fn an_upgraded_connection_hears_of_the_shutdown_and_may_say_goodbye() {
    let test = testing::start();
    let serve = |mut socket: Socket| async move {
        current_context().supervisor().draining().await;
        socket.write_all(b"goodbye").await
    };
    runtime(&test).block_on(async {
        let server = Server::start(&test, upgrading(test.supervisor(), serve)).await;
        let client = upgrade(&server).await;
        let (_, shutdown) = server.stop().await;
        assert!(shutdown.aborted.is_empty(), "{shutdown:?}");
        assert_eq!(client.rest().await, "goodbye");
    });
    assert_eq!(ends(&test).pop().unwrap().field("outcome"), Some("ok"));
}

#[test]
fn of_an_upgrade_that_does_not_come_about_nothing_is_left() {
    let test = testing::start();
    let service = ContextLayer::new().layer(service_fn(|_: http::Request<Incoming>| async {
        drop(upgraded(echo));
        Ok::<_, Infallible>(http::Response::new(Body::empty()))
    }));
    runtime(&test).block_on(async {
        let server = Server::start(&test, service).await;
        server.get("/").await;
        let (_, shutdown) = server.stop().await;
        assert!(shutdown.aborted.is_empty(), "{shutdown:?}");
    });
    assert!(ends(&test).is_empty());
    assert!(test.records().iter().all(|record| record.level >= Level::INFO), "{:#?}", test.records());
}

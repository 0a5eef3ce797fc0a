//! Work that must be done to the end, although its client leaves.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, put};
use logcontext::testing;
use logcontext::{ContextKind, Lost, current_context};
use logcontext_http::{ContextLayer, detach};
use support::*;
use tokio::sync::{Notify, mpsc};
use tracing::Level;

#[test]
fn detached_work_ends_though_the_client_leaves_and_is_charged_to_its_request() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        let supervisor = logcontext::Supervisor::new("detached");
        let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (done, mut ended) = mpsc::unbounded_channel();
        let handler = {
            let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
            move || async move {
                let work = detach(async move {
                    asked.notify_one();
                    go.notified().await;
                    let context = current_context();
                    context.record_db_transaction(Duration::from_millis(2));
                    done.send(context).unwrap();
                });
                work.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
            }
        };
        let app = Router::new().route("/", put(handler)).layer(ContextLayer::new().supervisor(&supervisor));
        runtime.block_on(async {
            let server = Server::start(&test, app).await;
            let mut client = server.connect().await;
            client.send("PUT /", "").await;
            asked.notified().await;
            drop(client);
            while supervisor.totals()[0].in_flight > 0 {
                tokio::task::yield_now().await;
            }
            go.notify_one();
            while !supervisor.running().is_empty() {
                tokio::task::yield_now().await;
            }
            let context = ended.try_recv().expect("the work is done to its end");
            assert_eq!(context.name(), "PUT-1");
            assert!(context.is_finished());
            assert_eq!(context.usage().db_txn_count, 1);
            if let Some(after) = context.cpu_after_finish() {
                assert!(after > Duration::ZERO);
            }
        });
        let totals = &supervisor.totals()[0];
        assert_eq!((totals.kind, totals.cancelled, totals.ok), (ContextKind::Request, 1, 0));
        assert_eq!(totals.usage.db_txn_count, 1);
        if totals.usage.cpu().is_some() {
            assert!(totals.after_finish > Duration::ZERO);
        }
    }
    assert!(test.records().iter().all(|record| record.level >= Level::INFO), "{:#?}", test.records());
}

#[test]
fn a_client_that_stays_gets_what_came_of_it() {
    /// Says nothing of failure.
    struct Mine(&'static str);
    let test = testing::start();
    let app = Router::new()
        .route("/", get(|| async { detach(async { Mine("done") }).await.map(|Mine(text)| text).unwrap() }))
        .layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        assert!(server.get("/").await.ends_with("\r\n\r\ndone"));
        server.stop().await;
    });
    assert_eq!(access_line(&test).field("outcome"), Some("ok"));
}

#[test]
fn a_panic_in_detached_work_is_reported_once_and_the_handler_hears_that_it_is_lost() {
    let test = testing::start();
    let handler = || async {
        let work = detach(async {
            if true {
                panic!("planned");
            }
        });
        assert_eq!(work.await, Err(Lost::Panicked("planned".to_owned())));
        StatusCode::SERVICE_UNAVAILABLE
    };
    let app = Router::new().route("/", get(handler)).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        assert!(server.get("/").await.starts_with("HTTP/1.1 503"));
        server.stop().await;
    });
    let errors = test.records_at(Level::ERROR);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!((errors[0].context.name(), errors[0].field("error")), ("GET-1", Some("planned")));
    assert!(errors[0].field("started_at").unwrap().contains("tests/detached.rs"), "{errors:#?}");
}

#[test]
fn a_shutdown_waits_for_detached_work_and_ends_it_at_its_deadline() {
    let test = testing::start();
    let asked = Arc::new(Notify::new());
    let handler = {
        let asked = Arc::clone(&asked);
        move || async move {
            drop(detach(async move {
                asked.notify_one();
                std::future::pending::<()>().await;
            }));
        }
    };
    let app = Router::new().route("/", get(handler)).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        server.get("/").await;
        tokio::time::timeout(DEADLINE, asked.notified()).await.expect("the work has begun");
        let shutdown = server.supervisor.shutdown(Duration::from_millis(20)).await;
        let aborted: Vec<_> = shutdown.aborted.iter().map(|running| running.context.name()).collect();
        assert_eq!(aborted, ["GET-1"]);
        assert!(shutdown.aborted[0].origin.file().ends_with("tests/detached.rs"));
    });
}

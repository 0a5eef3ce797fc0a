//! With a panic hook that reports, its report is the only one. The hook is the process's: this is one test.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use http_body::Frame;
use logcontext::testing;
use logcontext_http::{ContextLayer, detach, upgraded};
use support::*;
use tracing::Level;

struct Panics;

impl http_body::Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("planned")
    }
}

async fn panics() {
    panic!("planned")
}

#[test]
fn the_hooks_report_is_the_only_one_and_in_the_requests_context() {
    let test = testing::start();
    std::panic::set_hook(Box::new(logcontext::report_panic));
    let app = Router::new()
        .route("/handler", get(panics))
        .route("/body", get(|| async { Body::new(Panics) }))
        .route("/detached", get(|| async { detach(panics()).await.unwrap_or_default() }))
        .route("/upgraded", get(|| async { upgraded(|()| panics())(()).await }))
        .layer(ContextLayer::new());
    let paths = ["/handler", "/body", "/detached", "/upgraded"];
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        for path in paths {
            server.get(path).await;
        }
        server.stop().await;
    });
    let _ = std::panic::take_hook();
    let errors = test.records_at(Level::ERROR);
    let names: Vec<_> = errors.iter().map(|error| error.context.name()).collect();
    assert_eq!(names, ["GET-1", "GET-2", "GET-3", "GET-4-upgraded"], "{errors:#?}");
    assert!(errors.iter().all(|error| error.message == "panicked: planned" && error.field("at").is_some()));
}

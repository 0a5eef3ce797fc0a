//! A context per request: its name, its label, what runs in it, and when it is over.

#![cfg(all(feature = "axum", feature = "server"))]

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::{any, get};
use http_body::Frame;
use logcontext::testing;
use logcontext::{ContextKind, Ending, LabelTotals, LogContext, current_context};
use logcontext_http::{ContextLayer, LabelLayer};
use support::*;
use tokio::sync::{Notify, mpsc};
use tower::Layer;

#[test]
fn each_request_has_a_context_of_its_own_named_after_its_method_and_number() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        let supervisor = logcontext::Supervisor::new("names");
        let app = Router::new()
            .route("/name", any(|| async { current_context().name().to_owned() }))
            .layer(ContextLayer::new().supervisor(&supervisor));
        runtime.block_on(async {
            let server = Server::start(&test, app).await;
            let mut client = server.connect().await;
            client.send("GET /name", "").await;
            client.until("\r\n\r\nGET-1").await;
            client.send("PUT /name", "").await;
            client.until("\r\n\r\nPUT-2").await;
            client.send("BREW /name", "").await;
            client.until("\r\n\r\nBREW-3").await;
            assert!(server.get("/name").await.ends_with("GET-4"));
        });
        assert!(
            supervisor.totals().iter().all(|totals| totals.in_flight == 0),
            "{:?}",
            supervisor.contexts()
        );
    }
}

#[test]
fn an_overlong_method_is_cut_in_name_and_line() {
    let test = testing::start();
    let app = Router::new().route("/", any(|| async { "ok" })).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let response = server.ask(&format!("{} /", "M".repeat(3_000)), "").await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        server.stop().await;
    });
    let line = access_line(&test);
    assert!(line.context.name().len() < 40 && line.message.len() < 250, "{line:?}");
    assert_eq!(line.field("label"), Some("OTHER /"));
}

async fn ask_for_labels(test: &testing::Test, app: impl Fn() -> Router, outside: Option<ContextLayer>) {
    let (server, requests) = match outside {
        Some(layer) => (Server::start(test, layer.layer(app())).await, "outside"),
        None => (Server::start(test, app()).await, "inside"),
    };
    for _ in 0..2 {
        assert!(server.get("/presence/alice").await.starts_with("HTTP/1.1 200"), "{requests}");
    }
    server.ask("HEAD /presence/alice", "").await;
    assert!(server.get("/nothing/secret").await.starts_with("HTTP/1.1 404"), "{requests}");
    assert!(server.ask("POST /presence/alice", "").await.starts_with("HTTP/1.1 405"), "{requests}");
    assert!(server.ask("BREW /any/pot", "").await.starts_with("HTTP/1.1 200"), "{requests}");
    server.stop().await;
    let labels: Vec<_> = test
        .supervisor()
        .totals()
        .into_iter()
        .filter(|totals| totals.kind == ContextKind::Request)
        .map(|totals| (totals.label.unwrap().to_string(), totals.started, totals.in_flight, totals.ok))
        .collect();
    let once = |label: &str| (label.to_owned(), 1, 0, 1);
    assert_eq!(
        labels,
        [
            ("GET /presence/{user}".to_owned(), 2, 0, 2),
            once("HEAD /presence/{user}"),
            once("GET (unmatched)"),
            once("POST /presence/{user}"),
            once("OTHER /any/{thing}"),
        ]
    );
}

fn routes() -> Router {
    Router::new()
        .route("/presence/{user}", get(|| async { "online" }))
        .nest("/any", Router::new().route("/{thing}", any(|| async { "ok" })))
}

#[test]
fn the_label_is_the_method_and_the_route_never_the_path() {
    let test = testing::start();
    runtime(&test).block_on(ask_for_labels(&test, || routes().layer(ContextLayer::new()), None));
}

#[test]
fn a_layer_around_the_whole_router_learns_the_route_from_the_inner_one() {
    let test = testing::start();
    runtime(&test).block_on(ask_for_labels(
        &test,
        || routes().layer(LabelLayer::new()),
        Some(ContextLayer::new()),
    ));
}

#[test]
fn what_a_service_does_before_its_future_is_in_the_context_and_its_label_stays() {
    let test = testing::start();
    let service = ContextLayer::new().layer(tower::service_fn(|_: http::Request<hyper::body::Incoming>| {
        current_context().set_label("GET thing");
        async { Ok::<_, Infallible>(http::Response::new(String::from("no router"))) }
    }));
    runtime(&test).block_on(async {
        let server = Server::start(&test, service).await;
        server.get("/thing/17").await;
        server.stop().await;
    });
    assert_eq!(access_line(&test).field("label"), Some("GET thing"));
}

/// Writes down which context it finds itself in.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Seen {
    fn here(&self, what: &'static str) {
        let context = current_context();
        assert!(!context.is_finished(), "{what} in a context that has finished");
        self.0.lock().unwrap().push((what, context.name().to_owned()));
    }

    fn all(&self) -> Vec<(&'static str, String)> {
        self.0.lock().unwrap().clone()
    }
}

struct OnDrop(Seen, &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.here(self.1);
    }
}

struct Witness {
    seen: OnDrop,
    left: usize,
    endless: bool,
}

impl http_body::Body for Witness {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.seen.0.here("frame");
        if self.left == 0 {
            return if self.endless { Poll::Pending } else { Poll::Ready(None) };
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"chunk")))))
    }
}

#[test]
fn the_handler_the_body_and_the_drops_of_both_run_in_the_context() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        let supervisor = logcontext::Supervisor::new("drops");
        let seen = Seen::default();
        let handler = {
            let seen = seen.clone();
            move || async move {
                let held = OnDrop(seen.clone(), "handler dropped");
                seen.here("handler");
                tokio::task::yield_now().await;
                seen.here("handler again");
                drop(held);
                Response::new(Body::new(Witness {
                    seen: OnDrop(seen, "body dropped"),
                    left: 2,
                    endless: false,
                }))
            }
        };
        let app = Router::new().route("/", get(handler)).layer(ContextLayer::new().supervisor(&supervisor));
        runtime.block_on(async {
            let server = Server::start(&test, app).await;
            assert!(server.get("/").await.contains("chunk"));
        });
        let steps =
            ["handler", "handler again", "handler dropped", "frame", "frame", "frame", "body dropped"];
        assert_eq!(seen.all(), steps.map(|step| (step, "GET-1".to_owned())));
    }
}

#[test]
fn a_handler_whose_client_leaves_is_dropped_in_the_context_which_ends_cancelled() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        let supervisor = logcontext::Supervisor::new("leaving");
        let (seen, (contexts, mut context)) = (Seen::default(), mpsc::unbounded_channel::<LogContext>());
        let handler = {
            let seen = seen.clone();
            move || async move {
                let _held = OnDrop(seen, "handler dropped");
                contexts.send(current_context()).unwrap();
                std::future::pending::<()>().await;
            }
        };
        let app = Router::new().route("/", get(handler)).layer(ContextLayer::new().supervisor(&supervisor));
        let context = runtime.block_on(async {
            let server = Server::start(&test, app).await;
            let mut client = server.connect().await;
            client.send("GET /", "").await;
            let context = context.recv().await.unwrap();
            assert!(!context.is_finished());
            drop(client);
            while supervisor.totals()[0].in_flight > 0 {
                tokio::task::yield_now().await;
            }
            context
        });
        assert_eq!(seen.all(), [("handler dropped", "GET-1".to_owned())]);
        assert_eq!(context.ending(), Some(Ending::Cancelled));
    }
    assert!(test.records().iter().all(|record| record.level >= tracing::Level::INFO));
}

#[test]
fn a_body_whose_client_leaves_is_dropped_in_the_context_which_ends_cancelled() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        let supervisor = logcontext::Supervisor::new("leaving");
        let seen = Seen::default();
        let handler = {
            let seen = seen.clone();
            move || async move {
                Response::new(Body::new(Witness {
                    seen: OnDrop(seen, "body dropped"),
                    left: 1,
                    endless: true,
                }))
            }
        };
        let app = Router::new().route("/", get(handler)).layer(ContextLayer::new().supervisor(&supervisor));
        runtime.block_on(async {
            let server = Server::start(&test, app).await;
            let mut client = server.connect().await;
            client.send("GET /", "").await;
            client.until("chunk\r\n").await;
            assert_eq!(supervisor.totals()[0].in_flight, 1);
            client.reset();
            while supervisor.totals()[0].in_flight > 0 {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(seen.all().last().unwrap(), &("body dropped", "GET-1".to_owned()));
        assert_eq!(supervisor.totals()[0].cancelled, 1);
    }
}

#[test]
fn endings_are_apart() {
    let test = testing::start();
    let app = Router::new()
        .route(
            "/{status}",
            get(|path: axum::extract::Path<u16>| async move { http::StatusCode::from_u16(*path).unwrap() }),
        )
        .route("/panic", get(|| async { panic!("planned") as () }))
        .layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        for status in ["200", "404", "302", "500", "503"] {
            server.get(&format!("/{status}")).await;
        }
        assert!(server.get("/panic").await.starts_with("HTTP/1.1 500"));
        server.stop().await;
    });
    let codes = totals(&test, ContextKind::Request, "GET /{status}");
    assert_eq!((codes.ok, codes.failed, codes.panicked, codes.cancelled), (3, 2, 0, 0));
    let responses = |row: &LabelTotals| row.responses().map(|(_, n)| n).collect::<Vec<_>>();
    assert_eq!((responses(&codes), codes.durations.count()), (vec![0, 1, 1, 1, 2], 5));
    let panics = totals(&test, ContextKind::Request, "GET /panic");
    assert_eq!((panics.ok, panics.failed, panics.panicked, panics.cancelled), (0, 0, 1, 0));
    assert_eq!((responses(&panics), test.supervisor().panics()), (vec![0, 0, 0, 0, 1], 1));
}

#[test]
fn what_a_handler_puts_into_the_background_may_outlive_its_request() {
    let test = testing::start();
    let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (go, gone) = (Arc::clone(&go), Arc::clone(&gone));
        move || async move {
            logcontext::run_in_background(async move {
                go.notified().await;
                assert_eq!(current_context().name(), "GET-1");
                gone.notify_one();
            });
        }
    };
    let app = Router::new().route("/", get(handler)).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        server.get("/").await;
        assert_eq!(access_line(&test).context.ending(), Some(Ending::Ok));
        go.notify_one();
        gone.notified().await;
        server.stop().await;
    });
}

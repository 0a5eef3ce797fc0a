//! How large a request's body may be, and how long it may take.

#![cfg(all(unix, feature = "axum", feature = "tls"))]

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::routing::{get, post};
use http_body::Frame;
use http_body_util::{BodyExt, LengthLimitError};
use logcontext::background;
use logcontext::testing::{self, Record, Test};
use logcontext_http::{BodyLimitLayer, BodyTimeoutError, ContextLayer, LimitedBody, ServeOptions};
use support::kinds::{Files, KINDS, start};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};
use tracing::Level;

const LIMIT: usize = 1_000;
const MINUTE: Duration = Duration::from_secs(60);

fn layer() -> BodyLimitLayer {
    BodyLimitLayer::new().max_size(LIMIT as u64).timeout(MINUTE)
}

/// `/bytes` reads all by an extractor, `/stream` by itself and turns each error into a 400, `/ignore` reads nothing.
fn app() -> Router {
    let stream = async |request: Request| {
        let read = request.into_body().collect().await.map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok::<_, StatusCode>(format!("{} streamed", read.to_bytes().len()))
    };
    Router::new()
        .route("/bytes", post(async |body: Bytes| format!("{} bytes", body.len())))
        .route("/stream", post(stream))
        .route("/ignore", post(async || "ignored"))
        .route("/next", get(async || "next"))
        .layer(layer())
        .layer(ContextLayer::new())
}

/// A body of these sizes as chunks.
fn chunked(sizes: &[usize]) -> String {
    let chunks = sizes.iter().map(|size| format!("{size:x}\r\n{}\r\n", "x".repeat(*size)));
    chunks.chain(["0\r\n\r\n".to_owned()]).collect()
}

/// The access line of the request to this path, once it is there.
async fn line(test: &Test, path: &str) -> Record {
    loop {
        let lines = access_lines(test);
        if let Some(line) = lines.into_iter().find(|line| line.message.contains(path)) {
            return line;
        }
        tokio::task::yield_now().await;
    }
}

#[track_caller]
fn assert_refused(response: &str, status: u16) {
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    assert!(response.to_lowercase().contains("\r\nconnection: close\r\n"), "{response}");
    assert_eq!(response.matches("HTTP/1.1").count(), 1, "what is left of a body was answered: {response}");
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_before_any_of_it_has_come() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default()).await;
                let mut client = door.connect().await;
                client.send("POST /bytes", "content-length: 1001\r\nexpect: 100-continue\r\n").await;
                let response = client.rest().await;
                assert_refused(&response, 413);
                assert!(!response.contains("100 Continue"), "{response}");
            });
        }
    }
    let lines = access_lines(&test);
    assert_eq!(lines.len(), 8);
    for line in lines {
        assert_eq!((line.field("status"), line.field("outcome")), (Some("413"), Some("ok")));
        assert!(line.message.contains(" 413 \"POST /bytes HTTP/1.1\""), "{}", line.message);
    }
}

#[test]
fn what_was_sent_of_a_refused_body_is_never_a_request() {
    let test = testing::start();
    let smuggled = "GET /next HTTP/1.1\r\nhost: test\r\n\r\n";
    let whole = smuggled.repeat(40);
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default()).await;
                let length = format!("content-length: {}\r\n", whole.len());
                let chunk = format!("{:x}\r\n{whole}\r\n", whole.len());
                for (headers, body) in [
                    (&*length, &*whole),
                    // Another pair of requests behind it, in one piece with it.
                    (&*length, &*format!("{whole}{smuggled}{smuggled}")),
                    ("transfer-encoding: chunked\r\n", &*chunk),
                    ("transfer-encoding: chunked\r\n", &*format!("{chunk}0\r\n\r\n{smuggled}")),
                ] {
                    for path in ["/bytes", "/stream"] {
                        let mut client = door.connect().await;
                        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n{body}");
                        client.stream.write_all(head.as_bytes()).await.unwrap();
                        assert_refused(&client.rest().await, 413);
                    }
                }
            });
        }
    }
    assert!(access_lines(&test).iter().all(|line| !line.message.contains("/next")));
}

#[test]
fn a_body_that_turns_out_to_be_too_large_fails_the_read_and_the_request_is_refused() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default()).await;
                for path in ["/bytes", "/stream"] {
                    let mut client = door.connect().await;
                    client.send(&format!("POST {path}"), "transfer-encoding: chunked\r\n").await;
                    // Without an end: the limit is enough.
                    let piece = chunked(&[500, 500, 1]);
                    client.stream.write_all(&piece.as_bytes()[..piece.len() - 5]).await.unwrap();
                    assert_refused(&client.rest().await, 413);
                }
            });
        }
    }
    let lines = access_lines(&test);
    assert_eq!(lines.len(), 16);
    assert!(lines.iter().all(|line| line.field("status") == Some("413")), "{lines:#?}");
}

#[test]
fn a_client_that_still_sends_gets_to_read_why_it_was_refused() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default()).await;
                let mut client = door.connect().await;
                // It has answered before all of it has gone out.
                let large = vec![b'x'; 2 << 20];
                client.send("POST /bytes", &format!("content-length: {}\r\n", large.len())).await;
                client.stream.write_all(&large).await.unwrap();
                assert_refused(&client.rest().await, 413);
            });
        }
    }
}

#[test]
fn a_body_up_to_the_limit_is_read_and_the_connection_goes_on() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default()).await;
                let mut client = door.connect().await;
                for (path, says) in [("/bytes", "bytes"), ("/stream", "streamed")] {
                    for size in [0, 1, LIMIT - 1, LIMIT] {
                        client.send(&format!("POST {path}"), &format!("content-length: {size}\r\n")).await;
                        client.stream.write_all(&vec![b'x'; size]).await.unwrap();
                        let response = client.until(&format!("\r\n\r\n{size} {says}")).await;
                        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
                    }
                    client.send(&format!("POST {path}"), "transfer-encoding: chunked\r\n").await;
                    client.stream.write_all(chunked(&[400, 599, 1]).as_bytes()).await.unwrap();
                    client.until(&format!("1000 {says}")).await;
                }
                client.send("GET /next", "connection: close\r\n").await;
                assert!(client.rest().await.ends_with("\r\n\r\nnext"));
            });
        }
    }
}

#[test]
fn a_body_that_nobody_reads_is_never_the_next_request() {
    let test = testing::start();
    runtime(&test).block_on(async {
        let server = Server::start(&test, app()).await;
        let mut client = server.connect().await;
        client.send("POST /ignore", "transfer-encoding: chunked\r\n").await;
        let smuggled = "GET /next HTTP/1.1\r\nhost: test\r\n\r\n".repeat(200);
        let body = format!("{:x}\r\n{smuggled}", smuggled.len() + 1);
        client.stream.write_all(body.as_bytes()).await.unwrap();
        let response = client.until("\r\n\r\nignored").await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        drop(client);
        server.stop().await;
    });
    assert!(access_lines(&test).iter().all(|line| !line.message.contains("/next")));
}

#[test]
fn a_body_of_nothing_but_promises_ends_with_its_time() {
    let test = testing::start();
    for path in ["/bytes", "/stream"] {
        for kind in KINDS {
            let [one_thread, _] = runtimes(&test);
            one_thread.block_on(async {
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default()).await;
                let mut client = door.connect().await;
                client.send("GET /next", "").await;
                client.until("next").await;
                client.send(&format!("POST {path}"), "content-length: 100\r\n").await;
                client.stream.write_all(b"a few").await.unwrap();
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                tokio::time::pause();
                let start = Instant::now();
                let response = client.rest().await;
                assert_refused(&response, 408);
                assert!(start.elapsed() < MINUTE + Duration::from_secs(3), "{:?}", start.elapsed());
                assert!(start.elapsed() > MINUTE - Duration::from_secs(1), "{:?}", start.elapsed());
                let line = line(&test, path).await;
                assert_eq!(line.field("status"), Some("408"));
                assert!(line.message.contains(&format!(" 408 \"POST {path} HTTP/1.1\"")), "{}", line.message);
            });
        }
    }
    assert!(test.records().iter().all(|record| record.level >= Level::INFO));
}

/// A service that counts what it reads, after a while for each piece; behind the layer.
fn counting(
    pause: Duration,
) -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> {
    let service = move |request: http::Request<LimitedBody<Body>>| async move {
        let mut body = request.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes += frame.into_data().unwrap().len(),
                Err(error) => {
                    assert!(error.is::<BodyTimeoutError>(), "{error}");
                    assert!(error.to_string().contains("longer than 60s"), "{error}");
                    // It breaks off once.
                    assert!(body.frame().await.is_none());
                    let mut response = http::Response::new(Body::from(format!("{bytes}")));
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    return Ok(response);
                }
            }
            tokio::time::sleep(pause).await;
        }
        Ok(http::Response::new(Body::from(format!("{bytes}"))))
    };
    layer().layer(tower::service_fn(service))
}

/// A body of so many bytes, one each time.
fn trickle(bytes: usize, every: Duration) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    let source = async move {
        for _ in 0..bytes {
            tokio::time::sleep(every).await;
            if sender.send(Bytes::from_static(b"x")).await.is_err() {
                return;
            }
        }
    };
    drop(background::run("trickle", source));
    Body::new(Trickle(receiver))
}

struct Trickle(mpsc::Receiver<Bytes>);

impl http_body::Body for Trickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn answer(pause: Duration, body: Body) -> (StatusCode, String, Option<String>) {
    let response = counting(pause).oneshot(http::Request::new(body)).await.unwrap();
    let close = response.headers().get("connection").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap();
    (status, text, close)
}

#[test]
fn a_byte_now_and_then_buys_no_time() {
    let test = testing::start();
    test.current_thread().block_on(async {
        tokio::time::pause();
        let start = Instant::now();
        let every = Duration::from_secs(7);
        let (status, read, close) = answer(Duration::ZERO, trickle(900, every)).await;
        assert_eq!((status.as_u16(), &*read, close.as_deref()), (408, "8", Some("close")));
        assert!(start.elapsed() >= MINUTE && start.elapsed() < MINUTE + Duration::from_secs(1));
        // And one that comes in time is read to its end.
        let (status, read, close) = answer(Duration::ZERO, trickle(8, every)).await;
        assert_eq!((status.as_u16(), &*read, close.as_deref()), (200, "8", None));
    });
}

#[test]
fn the_time_that_the_service_takes_itself_is_not_the_clients() {
    let test = testing::start();
    test.current_thread().block_on(async {
        tokio::time::pause();
        let start = Instant::now();
        let body = Body::new(Pieces { left: 20, waited: false });
        let (status, read, _) = answer(MINUTE, body).await;
        assert_eq!((status.as_u16(), &*read), (200, "20"));
        assert!(start.elapsed() >= 20 * MINUTE);
    });
}

/// So many bytes, each of which is there as soon as somebody has waited for it.
struct Pieces {
    left: usize,
    waited: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waited = !self.waited;
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

#[test]
fn the_limit_takes_the_place_of_axums_own_and_one_further_in_holds_as_well() {
    let test = testing::start();
    let read = || post(async |body: Bytes| format!("{} bytes", body.len()));
    let app = Router::new()
        .route("/large", read())
        .route("/small", read().layer(DefaultBodyLimit::max(10)))
        .layer(BodyLimitLayer::new().max_size(5 << 20));
    test.current_thread().block_on(async {
        for (path, size, status) in [
            ("/large", 5 << 20, 200),
            ("/large", (5 << 20) + 1, 413),
            ("/small", 10, 200),
            ("/small", 11, 413),
        ] {
            let request = http::Request::post(path).body(Body::from(vec![b'x'; size])).unwrap();
            assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{path} {size}");
        }
    });
}

#[test]
fn without_a_limit_nothing_is_refused_and_without_a_body_nothing_is_asked() {
    let test = testing::start();
    test.current_thread().block_on(async {
        tokio::time::pause();
        let read = async |request: http::Request<LimitedBody<Body>>| {
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(http::Response::new(Body::from(bytes)))
        };
        let body = trickle(100, 100 * MINUTE);
        for (layer, body, size) in [
            (BodyLimitLayer::new(), body, 100),
            (BodyLimitLayer::new().timeout(Duration::MAX), trickle(3, 100 * MINUTE), 3),
            (BodyLimitLayer::new().max_size(0).timeout(Duration::ZERO), Body::empty(), 0),
        ] {
            let service = layer.layer(tower::service_fn(read));
            let response = service.oneshot(http::Request::new(body)).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), size);
        }
    });
}

#[test]
fn an_answer_that_is_no_error_stays_and_other_versions_have_no_connection_header() {
    let test = testing::start();
    let partly = async |request: http::Request<LimitedBody<Body>>| {
        let error = request.into_body().collect().await.unwrap_err();
        assert!(error.is::<LengthLimitError>(), "{error}");
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok::<_, Infallible>(response)
    };
    test.current_thread().block_on(async {
        for (version, close) in [(http::Version::HTTP_11, true), (http::Version::HTTP_2, false)] {
            let service = BodyLimitLayer::new().max_size(2).layer(tower::service_fn(partly));
            let mut request = http::Request::new(Body::new(Pieces { left: 3, waited: false }));
            *request.version_mut() = version;
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(
                (response.status(), response.headers().contains_key("connection")),
                (StatusCode::ACCEPTED, close)
            );
        }
    });
}

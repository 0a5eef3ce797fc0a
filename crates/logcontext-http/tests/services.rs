//! Any tower service can have the layer: one without a router, and one in the manner of gRPC.

#![cfg(feature = "server")]

mod support;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use logcontext::testing;
use logcontext::{ContextKind, current_context};
use logcontext_http::ContextLayer;
use support::*;
use tower::{Layer, ServiceExt, service_fn};

/// Routes by hand, and says which route it is.
async fn by_hand(request: http::Request<Incoming>) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let context = current_context();
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, path) if path.starts_with("/presence/") => {
            context.set_label("GET /presence/{user}");
            (StatusCode::OK, "online")
        }
        _ => (StatusCode::NOT_FOUND, "not here"),
    };
    let mut response = http::Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    Ok(response)
}

#[test]
fn a_service_without_a_router_has_contexts_lines_and_labels_of_its_own() {
    let test = testing::start();
    let service = ContextLayer::new().layer(service_fn(by_hand));
    runtime(&test).block_on(async {
        let server = Server::start(&test, service).await;
        assert!(server.get("/presence/alice").await.ends_with("\r\n\r\nonline"));
        assert!(server.get("/presence/bob").await.ends_with("\r\n\r\nonline"));
        assert!(server.get("/secret/path").await.ends_with("\r\n\r\nnot here"));
        server.stop().await;
    });
    let lines = access_lines(&test);
    assert!(lines[0].message.contains(" 6B 200 \"GET /presence/alice HTTP/1.1\""), "{}", lines[0].message);
    assert!(lines[2].message.contains(" 8B 404 \"GET /secret/path HTTP/1.1\""), "{}", lines[2].message);
    assert_eq!(totals(&test, ContextKind::Request, "GET /presence/{user}").ok, 2);
    // the raw path is no label, whoever asks for it
    assert_eq!(totals(&test, ContextKind::Request, "GET (unmatched)").ok, 1);
    assert!(!format!("{:?}", test.supervisor().totals()).contains("secret"));
}

/// Messages, and then how it went.
struct Messages {
    messages: VecDeque<&'static [u8]>,
    trailers: Option<HeaderMap>,
    end_known: bool,
}

impl Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.messages.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(message)))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.end_known && self.messages.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn grpc_status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

/// A service as gRPC's are: everything is a POST, and answered with 200; how it went is in the trailers.
async fn presence<B>(request: http::Request<B>) -> Result<http::Response<Messages>, Infallible> {
    current_context().set_label("presence.Presence/Get");
    let none = VecDeque::new;
    let (messages, trailers) = match request.uri().path() {
        "/presence.Presence/Get" => (VecDeque::from([&b"\0\0\0\0\x02ok"[..]]), Some(grpc_status("0"))),
        "/presence.Presence/Watch" => (VecDeque::from([&b"\0\0\0\0\x01a"[..]; 3]), Some(grpc_status("0"))),
        _ => (none(), None),
    };
    let only_trailers = trailers.is_none();
    let mut response = http::Response::new(Messages { messages, trailers, end_known: only_trailers });
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if only_trailers {
        response.headers_mut().extend(grpc_status("12"));
    }
    Ok(response)
}

#[test]
fn a_grpc_service_is_accounted_to_its_trailers() {
    for (path, bytes, frames) in [
        ("/presence.Presence/Get", 7, 2),
        ("/presence.Presence/Watch", 18, 4),
        ("/presence.Presence/Unknown", 0, 0),
    ] {
        let test = testing::start();
        let service = ContextLayer::new().supervisor(test.supervisor()).layer(service_fn(presence::<()>));
        test.current_thread().block_on(async {
            let request = http::Request::post(path).version(http::Version::HTTP_2).body(()).unwrap();
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/grpc");
            let mut body = response.into_body();
            let mut last = None;
            for frame in 0..frames {
                assert!(access_lines(&test).is_empty(), "{path}: before frame {frame}");
                last = Some(body.frame().await.unwrap().unwrap());
            }
            // with the trailers, or at once where all was in the headers: nobody need ask for more
            assert_eq!(access_lines(&test).len(), 1, "{path}");
            if let Some(last) = last {
                assert_eq!(last.trailers_ref().unwrap()["grpc-status"], "0");
            }
            assert!(body.is_end_stream());
            assert!(body.frame().await.is_none());
        });
        let line = access_line(&test);
        let shown = format!(" {bytes}B 200 \"POST {path} HTTP/2.0\"");
        assert!(line.message.contains(&shown), "{}", line.message);
        assert_eq!(line.field("label"), Some("presence.Presence/Get"));
        assert_eq!((line.field("complete"), line.field("outcome")), (Some("true"), Some("ok")));
        assert_eq!(line.context.name(), "POST-1");
    }
}

#[test]
fn a_stream_that_is_dropped_before_its_trailers_is_marked_so() {
    let test = testing::start();
    let service = ContextLayer::new().supervisor(test.supervisor()).layer(service_fn(presence::<()>));
    test.current_thread().block_on(async {
        let request = http::Request::post("/presence.Presence/Watch").body(()).unwrap();
        let mut body = service.oneshot(request).await.unwrap().into_body();
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
    });
    let line = access_line(&test);
    assert!(line.message.contains(" 18B 200! "), "{}", line.message);
    assert_eq!(line.field("outcome"), Some("cancelled"));
}

#[test]
fn a_grpc_service_is_accounted_over_a_connection_as_well() {
    let test = testing::start();
    let service = ContextLayer::new().layer(service_fn(presence::<Incoming>));
    runtime(&test).block_on(async {
        let server = Server::start(&test, service).await;
        let response = server.ask("POST /presence.Presence/Watch", "te: trailers\r\n").await;
        assert!(response.contains("content-type: application/grpc\r\n"), "{response}");
        server.stop().await;
    });
    assert!(access_line(&test).message.contains(" 18B 200 "), "{}", access_line(&test).message);
}

/// A body whose data are not `Bytes`.
#[test]
fn the_kind_of_a_bodys_data_does_not_matter_also_not_when_it_panics() {
    let test = testing::start();
    let service = ContextLayer::new().supervisor(test.supervisor()).layer(service_fn(
        |request: http::Request<()>| async move {
            assert!(request.uri().path() != "/panic", "planned");
            Ok::<_, Infallible>(http::Response::new(Full::new(VecDeque::from(*b"ok"))))
        },
    ));
    test.current_thread().block_on(async {
        let get = |path| http::Request::get(path).body(()).unwrap();
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        let response = service.oneshot(get("/panic")).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
    assert_eq!(access_lines(&test).len(), 2);
}

//! The service, started inside a test, and a client that writes and reads bytes.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test uses a part of it")]

mod own;
pub(crate) mod process;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use logcontext::FutureExt;
use logcontext::testing::Record;
use logcontext::testing::{self, Test};
use logcontext_service::{ListenAddress, Service, Stopped};
pub(crate) use own::{Own, Settings, on_both_databases, settings_of};
use presence::server::Presence;
use presence::store::{Limits, Store};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// After so long a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A service that has ended, and what was seen of it. Dropped, it fails the test if a diagnostic was raised.
pub(crate) struct Ended {
    pub(crate) test: Test,
    pub(crate) stopped: Stopped,
}

impl Ended {
    /// The records of this message.
    pub(crate) fn records_of(&self, message: &str) -> Vec<Record> {
        self.test.records().into_iter().filter(|record| record.message == message).collect()
    }
}

/// Panics without backtraces, which take long.
pub(crate) fn short_panics() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
}

/// A runtime as the service has it.
pub(crate) fn runtime(test: &Test) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().on_thread_start(test.thread_start());
    builder.on_thread_park(logcontext::expect_sentinel).build().unwrap()
}

/// Starts the service, runs `client` against it, and shuts it down. Fails if a diagnostic was raised, or a log
/// record was written outside any context.
pub(crate) fn with_service(settings: Settings, client: impl AsyncFnOnce(SocketAddr)) -> Ended {
    with_service_to_stop(settings, async |address, stop| {
        client(address).await;
        stop.send(()).unwrap();
    })
}

/// The same for a client that stops the service itself.
pub(crate) fn with_service_to_stop(
    settings: Settings,
    client: impl AsyncFnOnce(SocketAddr, oneshot::Sender<()>),
) -> Ended {
    run(testing::start(), settings, Router::new(), async |_, address, stop| client(address, stop).await)
}

/// The same for a service that has these routes as well, and a client that looks into it.
pub(crate) fn run(
    test: Test,
    settings: Settings,
    routes: Router,
    client: impl AsyncFnOnce(&Test, SocketAddr, oneshot::Sender<()>),
) -> Ended {
    let runtime = runtime(&test);
    let stopped = runtime.block_on(async {
        let startup = test.supervisor().context("startup").start();
        let service = Service::<Presence>::start(settings).in_context(startup.clone());
        let service = service.await.unwrap().with_routes(routes);
        startup.finish();
        let Some(&ListenAddress::Tcp(address)) = service.addresses().next() else { panic!("no address") };
        let (stop, told) = oneshot::channel();
        let serving = service.run(async { told.await.unwrap() });
        let both = async { tokio::join!(serving, client(&test, address, stop)) };
        tokio::time::timeout(PATIENCE, both).await.unwrap().0.unwrap()
    });
    drop(runtime);
    let homeless: Vec<_> = test.records().into_iter().filter(|record| record.context.is_sentinel()).collect();
    assert!(homeless.is_empty(), "logged in the sentinel: {homeless:#?}");
    Ended { test, stopped }
}

/// Opens the store in a context, and sees that all is closed at the end.
pub(crate) fn with_store(own: &Own, limits: &Limits, test: impl AsyncFnOnce(&Store)) {
    let kit = testing::start();
    let context = kit.supervisor().context("test").start();
    let work = async {
        let store = Store::open(&own.url.clone().into(), limits).await.unwrap();
        test(&store).await;
        assert_eq!(store.close(PATIENCE).await.left_open, 0);
        kit.supervisor().shutdown(PATIENCE).await;
    };
    let work = async { tokio::time::timeout(3 * PATIENCE, work.in_context(context)).await };
    runtime(&kit).block_on(work).expect("in time");
    own.assert_nobody_is_connected();
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// Sends a request, with these headers and this body, and reads the answer.
pub(crate) async fn ask(address: SocketAddr, request: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text(request, headers, body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// Asks, and compares status and code; the error must say all of `expected`.
pub(crate) async fn refused(
    answer: impl Future<Output = Answer>,
    status: u16,
    errcode: &str,
    expected: &[&str],
) {
    let answer = answer.await;
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    let json = answer.json();
    assert_eq!(json["errcode"], errcode, "{answer:?}");
    let error = json["error"].as_str().unwrap();
    for expected in expected {
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

/// The text of a request.
pub(crate) fn text(request: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    format!(
        "{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Sets somebody's presence.
pub(crate) async fn set(address: SocketAddr, user: &str, presence: &str) {
    let body = format!(r#"{{"presence": "{presence}"}}"#);
    let answer = ask(address, &format!("PUT /presence/{user}"), &[JSON], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

pub(crate) const JSON: &str = "content-type: application/json";

/// A stream of events being read.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) async fn follow(address: SocketAddr, user: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = text(&format!("GET /presence/{user}/stream"), &[], "");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The data of the next event; `None` at the proper end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let mut last = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap() == 0 {
                assert_eq!(last.trim(), "0", "the stream was cut");
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).unwrap());
            }
            if !line.trim().is_empty() {
                last = line;
            }
        }
    }
}

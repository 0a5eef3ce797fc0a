//! A server to be started inside of a test, whose datastore remembers what became of it, and a client that writes and
//! reads bytes.
#![allow(dead_code, reason = "each test uses a part of it")]

mod greeter;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext::FutureExt;
use logcontext::testing::{self, Test};
use logcontext_service::{ListenAddress, ListenerSettings, Service, Settings, StartError, Stopped};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

pub(crate) use greeter::{Greeter, Memory};

/// After so long a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn anywhere() -> ListenAddress {
    SocketAddr::from(([127, 0, 0, 1], 0)).into()
}

/// A greeter on a free port that tells of itself on another, and has little patience.
pub(crate) fn settings() -> Settings<Greeter> {
    let mut settings = Settings::<Greeter>::default();
    settings.service.listeners = vec![ListenerSettings::new(anywhere())];
    settings.service.admin.address = Some(anywhere().into());
    settings
}

/// A service that has ended, and what was seen of it. Dropped, it fails the test if a diagnostic was raised.
pub(crate) struct Ended {
    pub(crate) test: Test,
    pub(crate) stopped: Stopped,
    /// What its datastore remembers.
    pub(crate) happened: Vec<&'static str>,
}

/// What a test sees of a service that runs.
pub(crate) struct Running<'a> {
    pub(crate) test: &'a Test,
    pub(crate) addresses: Vec<ListenAddress>,
    pub(crate) admin: Option<ListenAddress>,
    pub(crate) memory: Arc<Memory>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Running<'_> {
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.addresses[0]
    }

    /// Tells it to end, if it does not do so by itself.
    pub(crate) fn stop(&self) {
        if let Some(stop) = self.stop.lock().unwrap().take() {
            let _ = stop.send(());
        }
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        ask(self.address(), &format!("GET {path}"), &[], "").await
    }

    pub(crate) async fn admin(&self, path: &str) -> String {
        ask(self.admin.as_ref().expect("an admin listener"), &format!("GET {path}"), &[], "").await
    }
}

/// On a runtime of one thread and on one of several: starts the service, runs `client` against it, and shuts it down if
/// the client has not. Fails if a record was written outside of any context.
#[expect(clippy::needless_pass_by_value, reason = "closures are written where they are used")]
pub(crate) fn on_both(
    settings: impl Fn() -> Settings<Greeter>,
    client: impl AsyncFn(&Running<'_>),
) -> Vec<Ended> {
    [current_thread as fn(&Test) -> Runtime, multi_thread]
        .into_iter()
        .map(|runtime| {
            let test = testing::start();
            let runtime = runtime(&test);
            let (stopped, happened) = runtime.block_on(run(&test, settings(), &client));
            drop(runtime);
            assert_no_sentinel_line(&test);
            assert_all_finished(&test);
            Ended { test, stopped, happened }
        })
        .collect()
}

pub(crate) fn current_thread(test: &Test) -> Runtime {
    build(test, &mut Builder::new_current_thread())
}

pub(crate) fn multi_thread(test: &Test) -> Runtime {
    build(test, Builder::new_multi_thread().worker_threads(2))
}

fn build(test: &Test, builder: &mut Builder) -> Runtime {
    builder
        .enable_all()
        .on_thread_start(test.thread_start())
        .on_thread_park(logcontext::expect_sentinel)
        .build()
        .unwrap()
}

pub(crate) async fn run(
    test: &Test,
    settings: Settings<Greeter>,
    client: &impl AsyncFn(&Running<'_>),
) -> (Stopped, Vec<&'static str>) {
    let service = start(test, settings).await.unwrap();
    let memory = Arc::clone(service.datastore());
    let (stop, told) = oneshot::channel();
    let running = Running {
        test,
        addresses: service.addresses().cloned().collect(),
        admin: service.admin_address().cloned(),
        memory: Arc::clone(&memory),
        stop: Mutex::new(Some(stop)),
    };
    let serving = service.run(async { told.await.expect("the client tells it to end") });
    let asking = async {
        client(&running).await;
        running.stop();
    };
    let both = async { tokio::join!(serving, asking).0.unwrap() };
    let stopped = timeout(PATIENCE, both).await.expect("in time");
    (stopped, memory.happened())
}

pub(crate) async fn start(test: &Test, settings: Settings<Greeter>) -> Result<Service<Greeter>, StartError> {
    let startup = test.supervisor().context("startup").start();
    let service = Service::start(settings).in_context(startup.clone()).await;
    startup.finish();
    service
}

/// Records hold contexts; but none is in flight.
pub(crate) fn assert_all_finished(test: &Test) {
    let contexts = test.supervisor().contexts();
    let in_flight: Vec<_> = contexts.iter().filter(|context| !context.is_finished()).collect();
    assert!(in_flight.is_empty(), "{in_flight:?}");
}

pub(crate) fn assert_no_sentinel_line(test: &Test) {
    let homeless: Vec<_> = test.records().into_iter().filter(|record| record.context.is_sentinel()).collect();
    assert!(homeless.is_empty(), "logged in the sentinel: {homeless:#?}");
}

/// Sends a request with these headers and this body, and reads the answer to its end.
pub(crate) async fn ask(address: &ListenAddress, request: &str, headers: &[&str], body: &str) -> String {
    let text = text(request, headers, body);
    match address {
        ListenAddress::Tcp(address) => exchange(TcpStream::connect(address).await.unwrap(), &text).await,
        ListenAddress::Unix(path) => exchange(UnixStream::connect(path).await.unwrap(), &text).await,
    }
}

pub(crate) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The text of a request.
pub(crate) fn text(request: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    format!(
        "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}")).parse().unwrap()
}

pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}")).1
}

pub(crate) fn tcp(address: &ListenAddress) -> SocketAddr {
    let ListenAddress::Tcp(address) = address else { panic!("{address} is no TCP address") };
    *address
}

pub(crate) fn unix(path: &Path) -> ListenerSettings {
    ListenerSettings::new(ListenAddress::Unix(path.to_owned()))
}

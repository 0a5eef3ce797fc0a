//! A server on a loopback port, and clients that know no more of HTTP than they need to misbehave.

#![allow(dead_code, reason = "no test uses all of it")]

#[cfg(all(unix, feature = "tls"))]
pub(crate) mod kinds;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::Frame;
use hyper::body::Incoming;
use logcontext::testing::{Record, Test};
use logcontext::{Background, ContextKind, LabelTotals, Shutdown, Supervisor, background};
use logcontext_http::{Listener, ServeOptions, Served, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Both kinds of runtime, with I/O.
pub(crate) fn runtimes(test: &Test) -> [Runtime; 2] {
    let mut workers = Builder::new_multi_thread();
    workers.worker_threads(2);
    [Builder::new_current_thread(), workers].map(|builder| build(test, builder))
}

pub(crate) fn runtime(test: &Test) -> Runtime {
    let [_, workers] = runtimes(test);
    workers
}

fn build(test: &Test, mut builder: Builder) -> Runtime {
    builder
        .enable_all()
        .on_thread_start(test.thread_start())
        .on_thread_park(logcontext::expect_sentinel)
        .build()
        .expect("a runtime")
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) supervisor: Supervisor,
    pub(crate) served: Background<io::Result<Served>>,
}

impl Server {
    pub(crate) async fn start<S, B>(test: &Test, service: S) -> Self
    where
        S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::start_with(test, service, ServeOptions::default()).await
    }

    pub(crate) async fn start_with<S, B>(test: &Test, service: S, options: ServeOptions) -> Self
    where
        S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::start_on(test.supervisor(), listener, address, service, options)
    }

    pub(crate) fn start_on<L, S, B>(
        supervisor: &Supervisor,
        listener: L,
        address: SocketAddr,
        service: S,
        options: ServeOptions,
    ) -> Self
    where
        L: Listener,
        S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let supervisor = supervisor.clone();
        let options = options.supervisor(&supervisor);
        let startup = supervisor.context("startup").start();
        let served = startup.scope(|| background::run("serve", serve(listener, service, options)));
        startup.finish();
        Self { address, supervisor, served }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own: the whole response.
    pub(crate) async fn ask(&self, request_line: &str, headers: &str) -> String {
        let mut client = self.connect().await;
        client.send(request_line, &format!("{headers}connection: close\r\n")).await;
        client.rest().await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path}"), "").await
    }

    pub(crate) async fn stop(self) -> (Served, Shutdown) {
        let shutdown = self.supervisor.shutdown(DEADLINE).await;
        (self.served.await.expect("served to the end").expect("no error"), shutdown)
    }
}

pub(crate) struct Client<I = TcpStream> {
    pub(crate) stream: I,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Leaves with a reset instead of a goodbye.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Client<I> {
    /// `GET /path`, and headers that end with a line break each.
    pub(crate) async fn send(&mut self, request_line: &str, headers: &str) {
        let request = format!("{request_line} HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until the response so far ends with this.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = self.stream.read_u8().await.expect("more of the response");
            read.push(byte);
        }
        String::from_utf8(read).unwrap()
    }

    /// What comes until the server closes the connection.
    pub(crate) async fn rest(mut self) -> String {
        let mut read = Vec::new();
        let _ = self.stream.read_to_end(&mut read).await;
        String::from_utf8(read).unwrap()
    }
}

/// The access lines so far.
pub(crate) fn access_lines(test: &Test) -> Vec<Record> {
    test.records().into_iter().filter(|record| record.target == "logcontext::access").collect()
}

/// The only access line.
#[track_caller]
pub(crate) fn access_line(test: &Test) -> Record {
    let mut lines = access_lines(test);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

/// With every time in it replaced by `T`, and every port by `P`.
pub(crate) fn without_times(line: &str) -> String {
    let mut words = Vec::new();
    for (i, word) in line.split(' ').enumerate() {
        let is_port = i == 2 && word.parse::<u16>().is_ok();
        words.push(if is_port { "P".to_owned() } else { blank_times(word) });
    }
    words.join(" ")
}

fn blank_times(word: &str) -> String {
    let mut out = word.to_owned();
    while let Some(end) = out.find("sec") {
        let start = out[..end].rfind(|c: char| !c.is_ascii_digit() && c != '.').map_or(0, |at| at + 1);
        assert!(start < end, "a time before `sec` in {word}");
        out.replace_range(start..end + 3, "T");
    }
    out
}

#[track_caller]
pub(crate) fn totals(test: &Test, kind: ContextKind, label: &str) -> LabelTotals {
    let all = test.supervisor().totals();
    let found = all.iter().find(|totals| totals.kind == kind && totals.label.as_deref() == Some(label));
    found.unwrap_or_else(|| panic!("totals of {label} in {all:#?}")).clone()
}

/// A body of these frames, each as a chunk.
pub(crate) fn streamed(frames: &'static [&'static str]) -> Body {
    Body::new(Chunks(frames.iter().map(|chunk| Bytes::from_static(chunk.as_bytes()))))
}

/// A body that fills any buffer between the two ends.
pub(crate) fn large() -> Body {
    Body::new(Chunks(std::iter::repeat_n(Bytes::from(vec![b'x'; 64 * 1_024]), 256)))
}

struct Chunks<I>(I);

impl<I: Iterator<Item = Bytes> + Unpin> http_body::Body for Chunks<I> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.next().map(|chunk| Ok(Frame::data(chunk))))
    }
}

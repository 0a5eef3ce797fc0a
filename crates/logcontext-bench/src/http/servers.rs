//! The servers: the same router, and what different people put around it. Each runs in a process of its own.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::Path as UrlPath;
use axum::routing::get;
use axum_prometheus::PrometheusMetricLayer;
use http::{HeaderMap, HeaderName};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use logcontext::Supervisor;
use logcontext_http::{ContextLayer, ServeOptions};
use logcontext_metrics::Exporter;
use logcontext_tracing::LogTarget;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceBuilder;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tracing::{Level, info_span};

use super::Kind;
use crate::cpu::{process_nanos, share_one_processor};

/// Rounds of what handlers do.
const WORK: u32 = 5_000;

/// The process of one server: see [`Child`](crate::child::Child).
pub(crate) fn run(kind: Kind, log: &Path) -> Result<()> {
    share_one_processor();
    let mut runtime = Builder::new_multi_thread();
    runtime.enable_all();
    if matches!(kind, Kind::Ours | Kind::OursNoLogs | Kind::OursMetrics) {
        // As services are told to.
        runtime.on_thread_park(logcontext::expect_sentinel);
    }
    let runtime = runtime.build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?.port());

    let _log = match kind {
        Kind::Ours | Kind::OursMetrics => {
            Some(logcontext_tracing::builder().json().target(LogTarget::file(log)).init()?)
        }
        _ => None,
    };
    match kind {
        Kind::Bare => start(&runtime, async { axum::serve(listener, router()).await }),
        Kind::BareHyper => start(&runtime, bare_hyper(listener)),
        Kind::Ours | Kind::OursNoLogs => start(&runtime, ours(listener, router())),
        Kind::OursMetrics => start(&runtime, ours(listener, with_metrics(router()))),
        Kind::Stock => {
            let file = OpenOptions::new().append(true).create(true).open(log)?;
            start(&runtime, stock(listener, file));
        }
    }
    for line in io::stdin().lock().lines() {
        line?;
        println!("{}", process_nanos());
        io::stdout().flush()?;
    }
    runtime.shutdown_background();
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what is bare has no context")]
fn start(runtime: &Runtime, server: impl Future<Output = io::Result<()>> + Send + 'static) {
    drop(runtime.spawn(async move {
        if let Err(error) = server.await {
            eprintln!("a server failed: {error}");
            std::process::exit(1);
        }
    }));
}

fn router() -> Router {
    Router::new().route("/presence/{user}", get(presence))
}

async fn presence(UrlPath(user): UrlPath<String>) -> String {
    work();
    format!("{user} is online")
}

/// Some 10 us, as handlers have something to do: with it the server is the one that all others wait for. One that waits
/// for them parks and wakes with each request, and that costs as it happens, more than what is to be measured.
fn work() {
    let mut state = 1_u64;
    for _ in 0..WORK {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Connections as our `serve` has them, and nothing else of ours.
#[expect(clippy::disallowed_methods, reason = "nothing of ours")]
async fn bare_hyper(listener: TcpListener) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router())).with_upgrades();
        drop(tokio::spawn(connection));
    }
}

fn with_metrics(router: Router) -> Router {
    let exporter = Exporter::new(&Supervisor::global());
    router.route("/metrics", get(|headers: HeaderMap| async move { exporter.respond(&headers) }))
}

async fn ours(listener: TcpListener, router: Router) -> io::Result<()> {
    let layer = ContextLayer::new().request_id_header(HeaderName::from_static("x-request-id"));
    logcontext_http::serve(listener, router.layer(layer), ServeOptions::default()).await?;
    Ok(())
}

/// What axum's own examples and most services put together: a span and a line for each request, an id, metrics.
async fn stock(listener: TcpListener, log: File) -> io::Result<()> {
    tracing_subscriber::fmt().json().with_writer(Arc::new(log)).init();
    let span = |request: &http::Request<axum::body::Body>| {
        let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
        info_span!("request", request_id = id, method = %request.method(), uri = %request.uri(), version = ?request.version())
    };
    let (metrics, rendered) = PrometheusMetricLayer::pair();
    let router = router().route("/metrics", get(|| async move { rendered.render() })).layer(metrics).layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(
                TraceLayer::new_for_http()
                    .make_span_with(span)
                    .on_response(DefaultOnResponse::new().level(Level::INFO)),
            )
            .layer(PropagateRequestIdLayer::x_request_id()),
    );
    axum::serve(listener, router).await
}

//! Where a server tells of itself: metrics, health, readiness, and what runs.

mod access;
mod readiness;
mod status;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use logcontext::Supervisor;
use logcontext_metrics::Exporter;

use crate::config::Secret;
use crate::server::Datastore;
pub(crate) use readiness::Readiness;
pub(crate) use status::{Identity, Status};
use view::Page;

/// What answers on the admin listener.
pub(crate) fn routes<D: Datastore>(
    supervisor: &Supervisor,
    exporter: Exporter,
    readiness: Arc<Readiness<D>>,
    identity: Identity,
    token: Option<Secret>,
) -> Router {
    // What a load balancer asks for tells nothing.
    let open = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .with_state(readiness);
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(exporter);
    let lists = Router::new()
        .route("/contexts", get(contexts))
        .route("/background", get(background))
        .with_state(supervisor.clone());
    let status = Arc::new(Status::new(supervisor, identity));
    let status = Router::new().route("/status", get(async move || status.page()));
    let guarded = metrics.merge(lists).merge(status);
    let guarded = guarded.layer(middleware::from_fn_with_state(token.map(Arc::new), access::check));
    open.merge(guarded).fallback(async || {
        let paths = "no such path; expected /metrics, /health, /ready, /status, /contexts or /background\n";
        (StatusCode::NOT_FOUND, paths)
    })
}

async fn ready<D: Datastore>(State(readiness): State<Arc<Readiness<D>>>) -> (StatusCode, &'static str) {
    match readiness.check().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn metrics(State(exporter): State<Exporter>, headers: HeaderMap) -> Response {
    exporter.respond(&headers).map(axum::body::Body::from).into_response()
}

async fn contexts(State(supervisor): State<Supervisor>, Query(page): Query<Page>) -> Response {
    view::contexts(&supervisor, page).into_response()
}

async fn background(State(supervisor): State<Supervisor>, Query(page): Query<Page>) -> Response {
    view::background(&supervisor, page).into_response()
}

//! The HTTP interface.

mod body;
mod error;
pub(crate) mod federation;
mod history;
mod presence;
mod profile;
mod stream;
mod user;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::store::Store;

pub use error::ApiError;

/// The longest body that is read, in bytes.
pub const MAX_BODY: usize = 4096;

/// The routes of a process that answers nobody but who looks after it.
pub fn health() -> Router {
    Router::new()
        .route("/health", get(async || "ok\n"))
        .fallback(async || {
            ApiError::not_found("no such path; expected /health: this process answers no users")
        })
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
}

/// The routes of the service.
pub fn routes(store: Arc<Store>) -> Router {
    Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/presence/{user}", get(presence::get).put(presence::put))
        .route("/presence/{user}/profile", get(profile::get).put(profile::put))
        .route("/presence/{user}/history", get(history::get))
        .route("/presence/{user}/stream", get(stream::follow))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(store)
        .fallback(async || {
            ApiError::not_found(
                "no such path; expected /presence/{user}, its /profile, /history or /stream, or /health",
            )
        })
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
}

/// Answers for a handler that panicked.
pub fn panicked() -> Response {
    ApiError::internal().into_response()
}

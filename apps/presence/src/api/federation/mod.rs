//! What other hubs may ask: to be told of somebody, and to tell.

mod caller;
mod follow;
mod get;
mod send;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, put};
use logcontext_bus::Bus;

use super::ApiError;
use crate::federation::{FederationSettings, MAX_TRANSACTION, Peers};
use crate::store::Store;

/// The routes that other hubs ask, and the one that tells users of theirs. None, if this hub does not federate.
pub fn routes(store: Arc<Store>, bus: Bus, settings: &FederationSettings) -> Router {
    if settings.hub().is_none() {
        return Router::new();
    }
    let shared = Arc::new(Shared { store, bus, peers: Peers::new(settings) });
    Router::new()
        .route("/_federation/send/{txn_id}", put(send::put))
        .route("/_federation/follows/{user}", put(follow::put).delete(follow::delete))
        .route("/hubs/{hub}/presence/{user}", get(get::get))
        .layer(DefaultBodyLimit::max(MAX_TRANSACTION))
        .with_state(shared)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    bus: Bus,
    peers: Peers,
}

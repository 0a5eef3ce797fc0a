//! The presence of another hub's user.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::{ApiError, Shared};
use crate::api::presence::unknown;
use crate::federation::InvalidHubName;
use crate::presence::View;
use crate::time::Timestamp;
use crate::user::{InvalidUserId, UserId};

/// As far as its hub has told it.
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Json<View>, ApiError> {
    let Path((hub, user)) = path.map_err(|_| InvalidUserId)?;
    let user: UserId = user.parse()?;
    let hub = hub.parse().map_err(|error: InvalidHubName| ApiError::bad_request("invalid_hub", error))?;
    if !shared.peers.knows(&hub) {
        return Err(ApiError::not_found("no such hub; expected one that this hub federates with"));
    }
    let presence = shared.store.remote_presence(&hub, &user).await?.ok_or_else(|| unknown(&user))?;
    Ok(Json(presence.view(&user, Timestamp::now())))
}

//! Setting and reading a presence.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

use super::ApiError;
use super::body::Body;
use super::user::Sender;
use crate::presence::{Presence, State, StatusMessage, View};
use crate::store::Store;
use crate::user::UserId;

/// What a client sends to set its presence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `presence` and maybe `status_msg`")]
pub(super) struct NewPresence {
    presence: State,
    status_msg: Option<StatusMessage>,
}

pub(super) async fn put(
    Shared(store): Shared<Arc<Store>>,
    user: UserId,
    Sender(sender): Sender,
    Body(new): Body<NewPresence>,
) -> Result<Json<View>, ApiError> {
    if let Some(sender) = sender {
        if sender != user {
            let error = format!("{sender} cannot set the presence of {user}; expected the same user");
            return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", error));
        }
        logcontext_http::set_user(sender.as_str());
    }
    let now = Instant::now();
    let presence = Presence { state: new.presence, status_msg: new.status_msg, last_active: now };
    let view = presence.view(&user, now);
    store.set(&user, presence)?;
    tracing::debug!(%user, state = ?new.presence, "presence set");
    Ok(Json(view))
}

pub(super) async fn get(Shared(store): Shared<Arc<Store>>, user: UserId) -> Result<Json<View>, ApiError> {
    match store.get(&user) {
        Some(presence) => Ok(Json(presence.view(&user, Instant::now()))),
        None => Err(unknown(&user)),
    }
}

pub(super) fn unknown(user: &UserId) -> ApiError {
    let error = format!("nothing is known of {user}; expected a user whose presence was set");
    ApiError::new(StatusCode::NOT_FOUND, "unknown_user", error)
}

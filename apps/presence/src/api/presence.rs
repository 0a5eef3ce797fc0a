//! Setting and reading a presence.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;

use super::ApiError;
use super::body::Body;
use super::user::Sender;
use crate::presence::{State, StatusMessage, View};
use crate::store::Store;
use crate::time::Timestamp;
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
    sender: Sender,
    Body(new): Body<NewPresence>,
) -> Result<Json<View>, ApiError> {
    sender.may_set("presence", &user)?;
    let now = Timestamp::now();
    let presence = store.set_presence(&user, new.presence, new.status_msg, now).await?;
    tracing::debug!(%user, state = ?presence.state, "presence set");
    Ok(Json(presence.view(&user, now)))
}

pub(super) async fn get(Shared(store): Shared<Arc<Store>>, user: UserId) -> Result<Json<View>, ApiError> {
    let presence = store.presence(&user).await?.ok_or_else(|| unknown(&user))?;
    let profile = store.profile(&user).await?;
    let view = presence.view(&user, Timestamp::now());
    Ok(Json(view.called(profile.and_then(|profile| profile.display_name))))
}

pub(super) fn unknown(user: &UserId) -> ApiError {
    let error = format!("nothing is known of {user}; expected a user whose presence was set");
    ApiError::new(StatusCode::NOT_FOUND, "unknown_user", error)
}

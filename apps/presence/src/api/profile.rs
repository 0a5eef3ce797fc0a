//! Setting and reading a profile.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;

use super::ApiError;
use super::body::Body;
use super::presence::unknown;
use super::user::Sender;
use crate::profile::{DisplayName, View};
use crate::store::Store;
use crate::user::UserId;

/// What a client sends to set its profile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `display_name` or nothing")]
pub(super) struct NewProfile {
    display_name: Option<DisplayName>,
}

pub(super) async fn put(
    Shared(store): Shared<Arc<Store>>,
    user: UserId,
    sender: Sender,
    Body(new): Body<NewProfile>,
) -> Result<Json<View>, ApiError> {
    sender.may_set("profile", &user)?;
    if !store.set_display_name(&user, new.display_name.as_ref()).await? {
        return Err(unknown(&user));
    }
    get(Shared(store), user).await
}

pub(super) async fn get(Shared(store): Shared<Arc<Store>>, user: UserId) -> Result<Json<View>, ApiError> {
    let profile = store.profile(&user).await?.ok_or_else(|| unknown(&user))?;
    Ok(Json(profile.view(&user)))
}

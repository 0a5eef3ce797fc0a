//! A hub that wants to be told of somebody, or no more.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::caller::Caller;
use super::{ApiError, Shared};
use crate::federation::{FollowsChanged, HubName};
use crate::store::FollowError;
use crate::user::UserId;

/// What a hub is told of whom it follows.
#[derive(Debug, Serialize)]
pub(super) struct View {
    user: UserId,
    follows: bool,
}

/// The sender is told each time, also of what was so before: who has had no answer asks again, and it may be that nobody
/// was told.
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Caller(hub): Caller,
    user: UserId,
) -> Result<Json<View>, ApiError> {
    shared.store.add_follow(&hub, &user).await?;
    tell(&shared, &hub, &user).await?;
    Ok(Json(View { user, follows: true }))
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Caller(hub): Caller,
    user: UserId,
) -> Result<Json<View>, ApiError> {
    shared.store.remove_follow(&hub, &user).await?;
    tell(&shared, &hub, &user).await?;
    Ok(Json(View { user, follows: false }))
}

async fn tell(shared: &Shared, hub: &HubName, user: &UserId) -> Result<(), ApiError> {
    let changed = FollowsChanged { hub: hub.as_str().to_owned(), user: user.clone() };
    shared.bus.fire(&changed).await.map(drop).map_err(|error| {
        tracing::warn!(%error, "cannot tell the sender who is followed");
        ApiError::unavailable("the broker cannot be reached or is busy; expected another try later")
    })
}

impl From<FollowError> for ApiError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Full => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_follows", error.to_string())
            }
            FollowError::Database(error) => error.into(),
        }
    }
}

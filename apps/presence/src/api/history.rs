//! Reading the history of a presence.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::ApiError;
use super::presence::unknown;
use crate::presence::Entry;
use crate::store::Store;
use crate::user::UserId;

/// `?limit=50&before=17`, both as clients have written them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<String>,
    before: Option<String>,
}

/// A history as clients see it.
#[derive(Debug, Serialize)]
pub(super) struct View {
    user: UserId,
    history: Vec<Entry>,
}

const ENTRIES: u8 = 50;
const MAX_ENTRIES: u8 = 100;

/// What somebody's presence was, the newest first. Who reads on asks for what is `before` the last id they got.
pub(super) async fn get(
    Shared(store): Shared<Arc<Store>>,
    user: UserId,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<View>, ApiError> {
    let Query(page) = page.map_err(|_| {
        invalid("expected no parameters but `limit` and `before`, each at most once".to_owned())
    })?;
    let (limit, before) = (page.limit()?, page.before()?);
    let history = store.history(&user, limit, before).await?.ok_or_else(|| unknown(&user))?;
    Ok(Json(View { user, history }))
}

impl Page {
    fn limit(&self) -> Result<u8, ApiError> {
        let Some(limit) = &self.limit else { return Ok(ENTRIES) };
        let limit = limit.parse().ok().filter(|limit| (1..=MAX_ENTRIES).contains(limit));
        limit.ok_or_else(|| invalid(format!("limit: expected a number from 1 to {MAX_ENTRIES}")))
    }

    fn before(&self) -> Result<Option<i64>, ApiError> {
        let Some(before) = &self.before else { return Ok(None) };
        let before = before.parse().ok().filter(|before| *before > 0);
        before.map(Some).ok_or_else(|| invalid("before: expected the id of an entry".to_owned()))
    }
}

fn invalid(error: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", error)
}

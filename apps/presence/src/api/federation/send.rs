//! A hub that tells of its users.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::caller::Caller;
use super::{ApiError, Shared};
use crate::federation::{MAX_STATES, MAX_TRANSACTION, Received, ToldState};
use crate::time::Timestamp;

/// What a hub sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transaction {
    states: Vec<Value>,
}

/// How long a hub may take to send it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Keeps what is newer than what is known; all of it, or nothing if one of the states is none.
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Caller(hub): Caller,
    id: TxnId,
    request: Request,
) -> Result<Json<Received>, ApiError> {
    let body = match timeout(DEADLINE, Bytes::from_request(request, &())).await {
        Ok(body) => body?,
        Err(_) => {
            let expected = format!("expected the whole body within {} s", DEADLINE.as_secs());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", expected));
        }
    };
    let states = states(&body)?;
    let received = shared.store.receive(&hub, &id.0, &states, Timestamp::now()).await?;
    tracing::debug!(%hub, txn_id = id.0, accepted = received.accepted, stale = received.stale, "received");
    Ok(Json(received))
}

/// The id of a transaction: whoever sends it makes it up.
pub(super) struct TxnId(String);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for TxnId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.map(|Path(id)| id).unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&id.len()) && id.bytes().all(is_plain) {
            return Ok(Self(id));
        }
        let expected = "expected a transaction id of 1 to 64 letters, digits, '.', '_' and '-'";
        Err(ApiError::bad_request("invalid_transaction_id", expected))
    }
}

fn states(body: &[u8]) -> Result<Vec<ToldState>, ApiError> {
    // Parsed first: what is no JSON at all is something else than what is no transaction.
    let json: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request("invalid_json", format!("expected JSON: {error}")))?;
    // Lists would be read as objects without their keys.
    if !json.is_object() {
        return Err(ApiError::bad_request("invalid_body", "expected an object with `states`"));
    }
    let Transaction { states } =
        Transaction::deserialize(json).map_err(|error| ApiError::bad_request("invalid_body", error))?;
    if states.len() > MAX_STATES {
        let expected = format!("states: expected at most {MAX_STATES}, found {}", states.len());
        return Err(ApiError::bad_request("invalid_body", expected));
    }
    let read = |(n, state)| state_of(n, state);
    states.into_iter().enumerate().map(read).collect()
}

fn state_of(n: usize, state: Value) -> Result<ToldState, ApiError> {
    let refuse = |why: &dyn Display| ApiError::bad_request("invalid_body", format!("states[{n}]: {why}"));
    if !state.is_object() {
        return Err(refuse(
            &"expected an object with `user`, `presence`, `last_active`, `revision` and maybe `status_msg`",
        ));
    }
    let state = ToldState::deserialize(state).map_err(|error| refuse(&error))?;
    if state.revision < 1 {
        return Err(refuse(&"revision: expected a number of at least 1"));
    }
    if state.last_active.as_millis() < 0 {
        return Err(refuse(&"last_active: expected milliseconds since the start of 1970"));
    }
    Ok(state)
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let expected = format!("expected a body of at most {MAX_TRANSACTION} bytes");
            return Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", expected);
        }
        Self::new(rejection.status(), "unreadable_body", rejection.body_text())
    }
}

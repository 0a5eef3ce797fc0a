//! Which hub calls.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::{ApiError, Shared};
use crate::federation::HubName;

/// The hub that calls, by its secret: `authorization: Bearer <secret>`.
pub(super) struct Caller(pub(super) HubName);

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let secret = value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        match shared.peers.of_secret(secret) {
            Some(hub) => {
                logcontext_http::set_user(hub.as_str());
                Ok(Self(hub.clone()))
            }
            None => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "unknown_hub",
                "expected the header `authorization: Bearer <secret>` with the secret of a hub that is known here",
            )),
        }
    }
}

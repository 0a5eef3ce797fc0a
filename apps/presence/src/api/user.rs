//! Who a request is about, and who sends it.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::ApiError;
use crate::user::{InvalidUserId, UserId};

/// The user of the path.
impl<S: Send + Sync> FromRequestParts<S> for UserId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(user) = path.map_err(|_| InvalidUserId)?;
        Ok(user.parse()?)
    }
}

/// Who sends the request, if they say so: `authorization: Bearer alice`. This service believes everyone.
pub(super) struct Sender(Option<UserId>);

impl Sender {
    /// May they change this of the user? Who does not say who they are may.
    pub(super) fn may_set(self, what: &str, user: &UserId) -> Result<(), ApiError> {
        let Some(sender) = self.0 else { return Ok(()) };
        if sender != *user {
            let error = format!("{sender} cannot set the {what} of {user}; expected the same user");
            return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", error));
        }
        logcontext_http::set_user(sender.as_str());
        Ok(())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Sender {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(Self(None)) };
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        match token.and_then(|token| token.parse().ok()) {
            Some(user) => Ok(Self(Some(user))),
            None => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "invalid_authorization",
                "expected the header `authorization: Bearer <user>`, or none",
            )),
        }
    }
}

//! [`ApiError`]: what a client is told when it did something wrong.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::Full;
use crate::user::InvalidUserId;

/// An error as clients see it: `{"errcode": "invalid_user", "error": "expected ..."}`.
#[derive(Debug, Serialize)]
pub struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    errcode: &'static str,
    error: String,
}

impl ApiError {
    /// An error with this status and code; the text says what was expected.
    pub fn new(status: StatusCode, errcode: &'static str, error: impl Into<String>) -> Self {
        Self { status, errcode, error: error.into() }
    }

    /// There is no such thing.
    pub fn not_found(error: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }

    /// The path does not take this method. The `allow` header of the response says which it takes.
    pub fn method_not_allowed() -> Self {
        let error = "wrong method; expected one of those in the allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", error)
    }

    /// Something broke here. What, is in the log.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error; the log says more")
    }
}

impl From<InvalidUserId> for ApiError {
    fn from(error: InvalidUserId) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_user", error.to_string())
    }
}

impl From<Full> for ApiError {
    fn from(error: Full) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_users", error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

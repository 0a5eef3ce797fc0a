//! [`ApiError`]: what a client is told when something went wrong, on its side or on ours.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::{Full, SetError};
use crate::user::InvalidUserId;

/// An error as clients see it: `{"errcode": "invalid_user", "error": "expected ..."}`.
#[derive(Debug, Serialize)]
pub struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    errcode: &'static str,
    error: String,
    /// In seconds.
    #[serde(skip)]
    retry_after: Option<u16>,
}

/// When who was turned away may come again, in seconds.
const SOON: u16 = 1;

impl ApiError {
    /// An error with this status and code; the text says what was expected.
    pub fn new(status: StatusCode, errcode: &'static str, error: impl Into<String>) -> Self {
        Self { status, errcode, error: error.into(), retry_after: None }
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

    /// What was sent is not what was expected, and the text says what that was.
    pub(super) fn bad_request(errcode: &'static str, expected: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, errcode, expected.to_string())
    }

    /// Something that this needs has no time, or is not there. Another try may find it better.
    pub(super) fn unavailable(error: &str) -> Self {
        let new = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error);
        Self { retry_after: Some(SOON), ..new }
    }
}

impl From<InvalidUserId> for ApiError {
    fn from(error: InvalidUserId) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_user", error.to_string())
    }
}

/// Logs it: this is where the error ends, in the context of the request, and the client is told no details.
impl From<logcontext_db::Error> for ApiError {
    fn from(error: logcontext_db::Error) -> Self {
        // A statement that takes too long is none of the client's: statements here are short.
        let is_unavailable = error.is_unavailable() || error.is_timeout();
        let error = anyhow::Error::new(error);
        if is_unavailable {
            tracing::warn!(error = format_args!("{error:#}"), "database unavailable");
            Self::unavailable("the database cannot be reached or is busy; expected another try later")
        } else {
            tracing::error!(error = format_args!("{error:#}"), "database error");
            Self::internal()
        }
    }
}

impl From<SetError> for ApiError {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Full => Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_users", Full.to_string()),
            SetError::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        let mut response = (status, Json(self)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use http::{HeaderValue, Response, StatusCode, Version, header};

use crate::connection::ConnectionInfo;

/// Why a body is not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Refusal {
    TooLarge = 1,
    TimedOut = 2,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// What came of one request's body: between the body, who learns it, and the response, which tells it.
#[derive(Debug)]
pub(super) struct Verdict {
    refusal: AtomicU8,
    version: Version,
    connection: Option<ConnectionInfo>,
}

impl Verdict {
    pub(super) fn on<B>(request: &http::Request<B>) -> Self {
        Self {
            refusal: AtomicU8::new(0),
            version: request.version(),
            connection: request.extensions().get().cloned(),
        }
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refusal.store(refusal as u8, Relaxed);
        if let Some(connection) = &self.connection {
            connection.set_refused();
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        [Refusal::TooLarge, Refusal::TimedOut]
            .into_iter()
            .find(|known| *known as u8 == self.refusal.load(Relaxed))
    }

    /// If the body was refused, the response says so, and is the connection's last: the rest of the body is still in
    /// it.
    pub(super) fn stamp<R>(&self, response: &mut Response<R>) {
        let Some(refusal) = self.refusal() else { return };
        if response.status().is_client_error() || response.status().is_server_error() {
            *response.status_mut() = refusal.status();
        }
        if self.version <= Version::HTTP_11 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// A response that says so, in place of a handler's.
    pub(super) fn response<R: Default>(&self) -> Response<R> {
        let mut response = Response::new(R::default());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        self.stamp(&mut response);
        response
    }
}

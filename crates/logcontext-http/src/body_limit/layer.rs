use std::time::Duration;

use tower_layer::Layer;

use super::BodyLimitService;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) size: Option<u64>,
    pub(super) time: Option<Duration>,
}

/// A tower layer: how many bytes the body of a request may have, and how long the client may take to send them. No
/// limit, if nobody says.
///
/// - A body whose `content-length` is too large is refused at once, with 413 and nothing else: no byte of it is read,
///   and the service is not called.
/// - Where a body turns out to be too large, the service gets `http_body_util`'s `LengthLimitError` when it reads that
///   far. Where the client takes too long, it gets a [`BodyTimeoutError`](crate::BodyTimeoutError). What it answers
///   to that gets the status 413 or 408 if it is an error of whatever kind, such as those of axum's extractors. An
///   answer that is none stays as it is.
/// - Either way it is the connection's last response: what is left of the body is never taken for the next request.
///   With [`serve`](crate::serve), the client gets two seconds to stop sending and to read the response. Without, it
///   may find the connection reset first.
///
/// The time is what the service waits for the client in all. What the service takes itself, between one piece and
/// the next, does not count: a client that sends a byte now and then does not get more time by that, and one that
/// waits for a busy service does not lose any. Headers have a limit of their own,
/// [`header_read_timeout`](crate::ServeOptions::header_read_timeout).
///
/// Put it inside of a [`ContextLayer`](crate::ContextLayer): then the access line says 413 and 408.
///
/// **axum** has a limit of its own for what its extractors read into memory, of 2 MB. `max_size` takes its place:
/// larger bodies are read where this limit allows it. A `DefaultBodyLimit` further in, on some routes, holds as well.
///
/// After `RequestBodyLimitLayer` and `RequestBodyTimeoutLayer` of tower-http, whose time is that between two pieces.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use axum::{Router, body::Body, http::Request, routing::post};
/// use logcontext_http::{BodyLimitLayer, ContextLayer};
/// use std::time::Duration;
/// use tower::ServiceExt;
///
/// let app = Router::new()
///     .route("/notes", post(|note: String| async move { format!("{} bytes", note.len()) }))
///     .layer(BodyLimitLayer::new().max_size(1_000).timeout(Duration::from_secs(20)))
///     .layer(ContextLayer::new());
///
/// for (size, status) in [(1_000, 200), (1_001, 413)] {
///     let note = Request::post("/notes").body(Body::from("x".repeat(size))).unwrap();
///     assert_eq!(app.clone().oneshot(note).await.unwrap().status(), status);
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
#[doc(alias = "max_request_body_size")]
pub struct BodyLimitLayer {
    limits: Limits,
}

impl BodyLimitLayer {
    /// A layer that sets no limit yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes a body may have at most.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.limits.size = Some(bytes);
        self
    }

    /// How long the client may keep the service waiting for its body, in all. `Duration::MAX` is for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.time = Some(timeout);
        self
    }
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = BodyLimitService<S>;

    fn layer(&self, inner: S) -> BodyLimitService<S> {
        BodyLimitService::new(inner, self.limits)
    }
}

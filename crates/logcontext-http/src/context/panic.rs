use http::Response;
use logcontext::Panic;

/// What is answered for a handler that panicked: see
/// [`ContextLayer::panic_response`](crate::ContextLayer::panic_response). Closures are one.
pub trait PanicResponse<B>: Clone {
    /// The response; `None` for a 500 without a body.
    fn response(&self, panic: &Panic) -> Option<Response<B>>;
}

impl<F, B> PanicResponse<B> for F
where
    F: Fn(&Panic) -> Response<B> + Clone,
{
    fn response(&self, panic: &Panic) -> Option<Response<B>> {
        Some(self(panic))
    }
}

/// A 500 without a body, for a handler that panicked: what a [`ContextLayer`](crate::ContextLayer) answers if
/// nobody says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyPanicResponse;

impl<B> PanicResponse<B> for EmptyPanicResponse {
    fn response(&self, _: &Panic) -> Option<Response<B>> {
        None
    }
}

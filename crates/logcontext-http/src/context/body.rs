use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use logcontext::{FutureExt, InContext, catch_panic};
use pin_project_lite::pin_project;

use crate::context::{End, Exchange};

pin_project! {
    /// The body of a response, made in its request's context, which it finishes.
    pub struct ContextBody<B> {
        // Dropped in this order: first the body, in its context; then its context is finished.
        #[pin]
        body: Option<InContext<B>>,
        exchange: Option<Exchange>,
        size: SizeHint,
    }
}

impl<B: Body> ContextBody<B> {
    pub(crate) fn wrap(response: http::Response<B>, mut exchange: Exchange) -> http::Response<Self> {
        let (mut parts, body) = response.into_parts();
        let size = body.size_hint();
        let ended = body.is_end_stream();
        exchange.responds(&mut parts, &size);
        let body = body.in_context(exchange.context().clone());
        let body = if ended {
            drop(body);
            exchange.end(End::Complete);
            Self { body: None, exchange: None, size }
        } else {
            Self { body: Some(body), exchange: Some(exchange), size }
        };
        http::Response::from_parts(parts, body)
    }

    /// A response that has no body.
    pub(crate) fn empty(response: http::Response<()>, mut exchange: Exchange) -> http::Response<Self> {
        let (mut parts, ()) = response.into_parts();
        let size = SizeHint::with_exact(0);
        exchange.responds(&mut parts, &size);
        exchange.end(End::Complete);
        http::Response::from_parts(parts, Self { body: None, exchange: None, size })
    }
}

impl<B: Body> Body for ContextBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let (size, exchange) = (&mut *this.size, &mut *this.exchange);
        let poll = |body: Pin<&mut Option<B>>| {
            let (frame, end) = ready!(next_of(body, cx, size));
            if let Some(exchange) = exchange {
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    exchange.sends(data.remaining());
                }
                if let Some(end) = end {
                    exchange.tell(end);
                }
            }
            Poll::Ready((frame, end))
        };
        let (frame, end) = match catch_panic(|| body.with(poll)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(next)) => next,
            Err(mut panic) => {
                if let Some(exchange) = this.exchange.as_mut() {
                    exchange.panicked(&mut panic);
                }
                let _ = catch_panic(|| this.body.set(None));
                if let Some(mut exchange) = this.exchange.take() {
                    exchange.end(End::Left);
                }
                // The headers are on their way: all that is left is to break the connection off.
                panic.resume()
            }
        };
        if let Some(end) = end {
            this.body.set(None);
            *this.size = SizeHint::with_exact(0);
            if let Some(mut exchange) = this.exchange.take() {
                exchange.end(end);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl<B> std::fmt::Debug for ContextBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContextBody").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// The body's next frame, and how it ends with it, if it does. Then it is dropped here, in its context.
#[expect(clippy::type_complexity, reason = "what a body yields, and one thing more")]
fn next_of<B: Body>(
    mut this: Pin<&mut Option<B>>,
    cx: &mut Context<'_>,
    size: &mut SizeHint,
) -> Poll<(Option<Result<Frame<B::Data>, B::Error>>, Option<End>)> {
    let Some(mut body) = this.as_mut().as_pin_mut() else { return Poll::Ready((None, None)) };
    let frame = ready!(body.as_mut().poll_frame(cx));
    let end = match &frame {
        None => Some(End::Complete),
        Some(Ok(frame)) if frame.is_trailers() || body.is_end_stream() => Some(End::Complete),
        Some(Ok(_)) => None,
        Some(Err(_)) => Some(End::Failed),
    };
    match end {
        Some(_) => this.set(None),
        None => *size = body.size_hint(),
    }
    Poll::Ready((frame, end))
}

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use logcontext::{FutureExt, InContext, catch_panic};
use pin_project_lite::pin_project;

use crate::context::{End, Exchange};

pin_project! {
    /// The body of a response, made in its request's context, which it finishes.
    pub struct ContextBody<B> {
        // Dropped in this order: first the body, in its context; then its context is finished.
        #[pin]
        frames: Option<InContext<Frames<B>>>,
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
        let frames = Frames { body }.in_context(exchange.context().clone());
        let body = if ended {
            drop(frames);
            exchange.end(End::Complete);
            Self { frames: None, exchange: None, size }
        } else {
            Self { frames: Some(frames), exchange: Some(exchange), size }
        };
        http::Response::from_parts(parts, body)
    }

    /// A response that has no body.
    pub(crate) fn empty(response: http::Response<()>, mut exchange: Exchange) -> http::Response<Self> {
        let (mut parts, ()) = response.into_parts();
        let size = SizeHint::with_exact(0);
        exchange.responds(&mut parts, &size);
        exchange.end(End::Complete);
        http::Response::from_parts(parts, Self { frames: None, exchange: None, size })
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
        let Some(frames) = this.frames.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let (frame, end) = match catch_panic(|| frames.poll_next(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(None)) => (None, Some(End::Complete)),
            Ok(Poll::Ready(Some(next))) => {
                *this.size = next.size;
                let end = match &next.frame {
                    Ok(frame) => {
                        if let (Some(data), Some(exchange)) = (frame.data_ref(), this.exchange.as_mut()) {
                            exchange.sends(data.remaining());
                        }
                        (next.is_last || frame.is_trailers()).then_some(End::Complete)
                    }
                    Err(_) => Some(End::Failed),
                };
                (Some(next.frame), end)
            }
            Err(mut panic) => {
                if let Some(exchange) = this.exchange.as_mut() {
                    exchange.panicked(&mut panic);
                }
                let _ = catch_panic(|| this.frames.set(None));
                if let Some(mut exchange) = this.exchange.take() {
                    exchange.end(End::Left);
                }
                // The headers are on their way: all that is left is to break the connection off.
                panic.resume()
            }
        };
        if let Some(end) = end {
            this.frames.set(None);
            *this.size = SizeHint::with_exact(0);
            if let Some(mut exchange) = this.exchange.take() {
                exchange.end(end);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_none()
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

pin_project! {
    /// A body as a stream: what contexts know how to poll. What there is to know about the rest of the body comes
    /// with each frame, for nobody else can look into it.
    struct Frames<B> {
        #[pin]
        body: B,
    }
}

struct Next<D, E> {
    frame: Result<Frame<D>, E>,
    is_last: bool,
    size: SizeHint,
}

impl<B: Body> Stream for Frames<B> {
    type Item = Next<B::Data, B::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.project().body;
        let frame = ready!(body.as_mut().poll_frame(cx));
        Poll::Ready(frame.map(|frame| Next { frame, is_last: body.is_end_stream(), size: body.size_hint() }))
    }
}

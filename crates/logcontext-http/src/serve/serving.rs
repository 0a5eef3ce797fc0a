//! What is polled for a connection: hyper, and what is watched in its stead.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Result;
use logcontext::Ending;
use tracing::field::display;

use super::head_timeout::HeadTimeout;
use crate::connection::ConnectionInfo;

pin_project_lite::pin_project! {
    /// hyper's side of a connection, until its end; or until the client has left, or has not sent its request in time.
    pub(super) struct Serving<C> {
        #[pin]
        pub(super) http: C,
        pub(super) head: HeadTimeout,
        pub(super) info: ConnectionInfo,
    }
}

impl<C: Future<Output = Result<()>>> Future for Serving<C> {
    type Output = Ending;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending> {
        let this = self.project();
        if let Poll::Ready(result) = this.http.poll(cx) {
            return Poll::Ready(result.map_or_else(|error| broke_off(&error), |()| Ending::Ok));
        }
        if this.info.has_left() {
            tracing::debug!(target: "logcontext::http", error = "client left during its request", "connection broke off");
            return Poll::Ready(Ending::Cancelled);
        }
        this.head.poll(cx).map(|()| {
            tracing::debug!(target: "logcontext::http", error = "no request within the time for its head", "connection broke off");
            Ending::Cancelled
        })
    }
}

#[cold]
fn broke_off(error: &hyper::Error) -> Ending {
    let cause = error.source().map(display);
    tracing::debug!(target: "logcontext::http", %error, cause, "connection broke off");
    // What the client sent, or what the service answered instead of a response; the rest is the way of networks.
    if error.is_parse() || error.is_user() { Ending::Failed } else { Ending::Cancelled }
}

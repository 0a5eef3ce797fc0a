//! Waiting for the broker, but not for ever.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::Waiting;
use crate::transport::{Status, Transport};

/// The future's output if it has one in time. Whoever polls this may be on any runtime or none: the timer is the bus's,
/// and there is none for what is ready at once.
pub(crate) async fn within<F: Future>(runtime: &Handle, time: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| {
            let _entered = runtime.enter();
            Box::pin(tokio::time::sleep(time))
        });
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// A pause by the bus's clock, for whoever polls it.
pub(crate) async fn pause(runtime: &Handle, time: Duration) {
    within(runtime, time, std::future::pending::<()>()).await;
}

/// What a command has been waiting for, that is not done.
pub(crate) fn waiting(transport: &dyn Transport) -> Waiting {
    let Status { connected, is_full, .. } = transport.status();
    match connected {
        Err(why) => Waiting::Connection(Arc::clone(&why)),
        Ok(()) if is_full => Waiting::Queue,
        Ok(()) => Waiting::Broker,
    }
}

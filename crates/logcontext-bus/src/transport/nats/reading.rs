//! Keeping a reader going, by one connection after the other.

use std::future::Future;
use std::sync::Arc;

use super::failure::Failure;
use super::shared::Shared;
use super::stopping::Stopping;
use super::wire::Wire;
use crate::transport::backoff::Backoff;

/// Reads by the connection of its transport.
pub(super) trait Reads: Send {
    /// Until the connection is lost, or nobody wants any more.
    fn read_all(&mut self, wire: Arc<Wire>) -> impl Future<Output = End> + Send;
}

/// Why reading has come to an end.
#[derive(Debug)]
pub(super) enum End {
    /// The connection was lost, or what is read is there no more.
    Lost(Failure),
    /// Nobody wants any more.
    Stopped,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Closed => Self::Stopped,
            other => Self::Lost(other),
        }
    }
}

/// Reads until it is stopped.
pub(super) async fn keep_reading(shared: Arc<Shared>, stopping: Stopping, mut reader: impl Reads) {
    let _done = stopping.done_when_dropped();
    let mut backoff = Backoff::new();
    loop {
        let wire = tokio::select! {
            biased;
            () = stopping.asked() => return,
            wire = shared.wire() => wire,
        };
        let Ok(wire) = wire else { return };
        match reader.read_all(Arc::clone(&wire)).await {
            End::Stopped => return,
            End::Lost(_) if wire.is_gone() => backoff.reset(),
            End::Lost(why) => {
                tracing::debug!(target: "logcontext::bus", ?why, "reading begins anew");
                tokio::select! {
                    biased;
                    () = stopping.asked() => return,
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
        }
    }
}

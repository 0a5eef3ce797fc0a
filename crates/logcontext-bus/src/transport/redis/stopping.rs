//! Stopping a reader that waits at the broker, without losing what it has read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::wire;
use crate::transport::TransportError;

/// Tells a reader to stop, and whoever stops it when it has.
#[derive(Clone, Default)]
pub(super) struct Stopping {
    asked: CancellationToken,
    done: CancellationToken,
    /// Its connection, as the broker calls it
    wire: Arc<AtomicI64>,
}

impl Stopping {
    /// Completes when the reader reads nothing more.
    pub(super) async fn stop(&self, shared: &Shared) -> Result<(), TransportError> {
        self.asked.cancel();
        while !self.done.is_cancelled() {
            // It can come before the read has. Each try waits for the broker.
            let unblocked = shared.queues.finish(wire::unblock(self.wire.load(SeqCst)));
            tokio::select! {
                biased;
                () = self.done.cancelled() => {}
                () = shared.end.cancelled() => return Err(TransportError::Closed),
                answer = unblocked => {
                    if answer == Err(TransportError::Closed) {
                        return Err(TransportError::Closed);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Completes when it is to stop.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// The reader reads by this connection now.
    pub(super) fn reads_by(&self, wire: i64) {
        self.wire.store(wire, SeqCst);
    }

    /// To be held by the reader: done when it is dropped.
    pub(super) fn done_when_dropped(&self) -> tokio_util::sync::DropGuard {
        self.done.clone().drop_guard()
    }
}

//! Stopping a reader without losing what it has been given.

use tokio_util::sync::{CancellationToken, DropGuard};

use super::failure::Failure;
use super::shared::Shared;

/// Tells a reader to stop, and whoever stops it when it has.
#[derive(Clone, Default)]
pub(super) struct Stopping {
    asked: CancellationToken,
    done: CancellationToken,
}

impl Stopping {
    /// Completes when the reader reads nothing more.
    pub(super) async fn stop(&self, shared: &Shared) -> Result<(), Failure> {
        self.asked.cancel();
        tokio::select! {
            biased;
            () = self.done.cancelled() => Ok(()),
            () = shared.end.cancelled() => Err(Failure::Closed),
        }
    }

    /// Completes at once, unless it is to stop: then when it has.
    pub(super) async fn settled(&self, shared: &Shared) -> Result<(), Failure> {
        if self.is_asked() { self.stop(shared).await } else { Ok(()) }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Completes when it is to stop.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// To be held by the reader: done when it is dropped.
    pub(super) fn done_when_dropped(&self) -> DropGuard {
        self.done.clone().drop_guard()
    }
}

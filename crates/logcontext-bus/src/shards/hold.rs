//! Holding one shard: its lease, and what runs by it.

use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use logcontext::Outcome;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout_at;

use super::Shard;
use super::figures::Figures;
use crate::kept_lease::KeptLease;

/// A shard, and the lease by which it is held. Dropped, it lets go of it and says so.
pub(super) struct Hold {
    shard: Shard,
    lease: KeptLease,
    figures: Arc<Figures>,
    ended: UnboundedSender<u16>,
}

/// How a run has ended: with its output, unless it was dropped with the lease.
pub(super) struct Ended<T>(Option<T>);

impl Hold {
    pub(super) fn new(
        shard: Shard,
        lease: KeptLease,
        figures: Arc<Figures>,
        ended: UnboundedSender<u16>,
    ) -> Self {
        figures.held.fetch_add(1, Relaxed);
        Self { shard, lease, figures, ended }
    }

    /// Runs by the lease. Completes when that has ended, and the lease is others' to have.
    pub(super) async fn run<F: Future>(mut self, run: F) -> Ended<F::Output> {
        let output = {
            let mut run = pin!(run);
            tokio::select! {
                biased;
                output = &mut run => Some(output),
                over = self.lease.keep() => {
                    self.lose();
                    // What is told in time may end in order.
                    timeout_at(over, run).await.ok()
                }
            }
        };
        self.lease.release().await;
        Ended(output)
    }

    fn lose(&self) {
        self.figures.lost.fetch_add(1, Relaxed);
        let shard = self.shard.number;
        tracing::warn!(target: "logcontext::bus", shard, "the lease of a shard was lost: its work is ended");
        self.shard.lost.cancel();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.figures.held.fetch_sub(1, Relaxed);
        let _ = self.ended.send(self.shard.number);
    }
}

impl<T: Outcome> Outcome for Ended<T> {
    fn failure(&self) -> Option<&dyn Display> {
        self.0.as_ref()?.failure()
    }
}

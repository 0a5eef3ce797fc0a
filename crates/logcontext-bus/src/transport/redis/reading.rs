//! Keeping a reader connected.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::stopping::Stopping;
use super::wire::Wire;
use crate::transport::backoff::Backoff;

/// A connection that has lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(1);

/// Reads by a connection of its own.
pub(super) trait Reads: Send {
    /// Until the connection is lost, or nobody wants any more.
    fn read_all(&mut self, wire: Wire) -> impl Future<Output = End> + Send;
}

/// Why reading has come to an end.
#[derive(Debug)]
pub(super) enum End {
    /// The connection was lost, or of no use.
    Lost(Arc<str>),
    /// Nobody wants any more.
    Stopped,
}

impl From<Arc<str>> for End {
    fn from(why: Arc<str>) -> Self {
        Self::Lost(why)
    }
}

/// Reads until it is stopped, by one connection after the other.
pub(super) async fn keep_reading(shared: Arc<Shared>, stopping: Stopping, mut reader: impl Reads) {
    let _done = stopping.done_when_dropped();
    let (mut backoff, mut has_been_connected) = (Backoff::new(), false);
    loop {
        let opened = tokio::select! {
            biased;
            () = stopping.asked() => return,
            opened = Wire::open(&shared, None) => opened,
        };
        let connected = Instant::now();
        // Where there is no connection, the one for commands says why.
        if let Ok(wire) = opened {
            if has_been_connected {
                shared.reconnects.fetch_add(1, Relaxed);
            }
            has_been_connected = true;
            stopping.reads_by(wire.id);
            match reader.read_all(wire).await {
                End::Stopped => return,
                End::Lost(why) => {
                    tracing::debug!(target: "logcontext::bus", %why, "a connection for reading was lost");
                }
            }
        }
        if connected.elapsed() >= GOOD {
            backoff.reset();
        }
        tokio::select! {
            biased;
            () = stopping.asked() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

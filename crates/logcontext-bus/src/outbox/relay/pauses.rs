//! What a relay waits for when there is nothing to do, or something is not there.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use logcontext_db::Error;
use tokio::time::{Instant, sleep_until};

use super::Relay;

/// The first pause after the broker or the database was not there.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Relay {
    /// Until there is something new, perhaps.
    pub(super) async fn wait(&mut self, other: Option<Instant>) {
        let poll = Instant::now() + self.config.poll;
        let until = other.map_or(poll, |other| other.min(poll));
        tokio::select! {
            biased;
            () = self.stopping.asked() => {}
            () = self.waker.notified() => {}
            () = sleep_until(until) => {}
        }
    }

    /// Until there is a connection, perhaps.
    pub(super) async fn wait_for_broker(&mut self) {
        let until = (Instant::now() + LONGEST_PAUSE).min(self.lease.renewal());
        tokio::select! {
            biased;
            () = self.stopping.asked() => {}
            _ = self.bus.transport.connected() => {}
            () = sleep_until(until) => {}
        }
    }

    /// Something was not there.
    pub(super) async fn rest(&mut self) {
        self.figures.failures.fetch_add(1, Relaxed);
        let until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            biased;
            () = self.stopping.asked() => {}
            () = sleep_until(until) => {}
        }
    }

    /// The database was not. Said once.
    pub(super) async fn failed(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(target: "logcontext::bus", %error, "the outbox cannot be read: trying again");
        }
        self.rest().await;
    }

    pub(super) fn recovered(&mut self) {
        if std::mem::take(&mut self.has_failed) {
            tracing::info!(target: "logcontext::bus", "the outbox can be read again");
            self.pause = FIRST_PAUSE;
        }
    }
}

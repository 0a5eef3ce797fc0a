//! Telling a relay to end, and hearing that it has.

use std::sync::OnceLock;
use std::time::Duration;

use logcontext::Supervisor;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a relay is told to end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    asked: CancellationToken,
    by: OnceLock<Instant>,
    ended: CancellationToken,
}

impl Stop {
    /// Asks for it, and waits so long at most.
    pub(super) async fn stop(&self, deadline: Duration) {
        let by = *self.by.get_or_init(|| Instant::now() + deadline);
        self.asked.cancel();
        // It ends by itself then: it has something to let go of.
        let _ = tokio::time::timeout_at(by + GRACE, self.ended.cancelled()).await;
    }

    /// Completes when it was asked to end, or the service is shutting down, or the bus is closed. Answers by when.
    pub(super) async fn asked(
        &self,
        supervisor: &Supervisor,
        bus: &CancellationToken,
        drain: Duration,
    ) -> Instant {
        tokio::select! {
            biased;
            () = self.asked.cancelled() => {}
            () = bus.cancelled() => {}
            () = supervisor.shutting_down() => {}
        }
        *self.by.get_or_init(|| Instant::now() + drain)
    }

    /// To be held by the relay while it runs.
    pub(super) fn running(&self) -> impl Drop + use<> {
        self.ended.clone().drop_guard()
    }
}

/// So long it may take to let the lease go.
pub(super) const GRACE: Duration = Duration::from_secs(1);

//! A lease that is kept for as long as the broker lets it be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::transport::{Lease, TransportError};

/// So often it is tried again to renew what could not be.
const AGAIN: Duration = Duration::from_millis(50);

/// A lease, and when it was asked for last with success: it is over no earlier than its time after that.
#[derive(Debug)]
pub(crate) struct KeptLease {
    lease: Arc<dyn Lease>,
    time: Duration,
    since: Instant,
}

impl KeptLease {
    pub(crate) fn new(lease: Arc<dyn Lease>, time: Duration, since: Instant) -> Self {
        Self { lease, time, since }
    }

    /// Renews it three times in its time. Completes when that did not succeed until a sixth of it was left, or somebody
    /// else may have it: with the time until which nobody else can.
    pub(crate) async fn keep(&mut self) -> Instant {
        loop {
            sleep(self.time / 3).await;
            let told = self.since + self.time * 5 / 6;
            loop {
                let asked = Instant::now();
                match timeout_at(told, self.lease.renew()).await {
                    Ok(Ok(true)) => {
                        self.since = asked;
                        break;
                    }
                    Ok(Ok(false) | Err(TransportError::Closed)) => return asked,
                    Ok(Err(_)) if asked + AGAIN < told => sleep_until(asked + AGAIN).await,
                    Ok(Err(_)) | Err(_) => return self.since + self.time,
                }
            }
        }
    }

    /// Lets it go, if the broker can be told before it is over anyway.
    pub(crate) async fn release(&self) {
        let _ = timeout_at(self.since + self.time, self.lease.release()).await;
    }
}

//! Groups that belong to one process: they are forgotten when it is gone.
//!
//! Such a process holds a lease on its group for as long as it lives. Whoever looks after the event's stream tries to get
//! it: who does knows that the process is gone, and forgets the group.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bus::Inner;
use crate::kept_lease::KeptLease;
use crate::transport::{Lease, TransportError};

/// Whose group it is.
pub(crate) struct OwnGroup {
    inner: Arc<Inner>,
    event: &'static str,
    group: Arc<str>,
    lease: KeptLease,
}

/// The group of the listener in the process with this identity. No name has an `@` in it, or a `/`.
pub(crate) fn name(identity: &str, listener: &str) -> String {
    let (service, process) = identity.split_once('/').unwrap_or((identity, ""));
    format!("{service}:{listener}@{process}")
}

/// What such groups of all processes have in common, if it is one.
pub(crate) fn shared_name(group: &str) -> Option<&str> {
    group.split_once('@').map(|(shared, _)| shared)
}

impl OwnGroup {
    /// Says that this process lives, before there is a group.
    pub(crate) async fn claim(
        inner: &Arc<Inner>,
        event: &'static str,
        group: &Arc<str>,
    ) -> Result<Self, TransportError> {
        let (inner, group, since) = (Arc::clone(inner), Arc::clone(group), Instant::now());
        // Nobody else has the same identity.
        let refused = || TransportError::Refused(format!("{group} is another's"));
        let lease = acquire(&inner, event, &group, time(&inner)).await?.ok_or_else(refused)?;
        let lease = KeptLease::new(lease, time(&inner), since);
        Ok(Self { inner, event, group, lease })
    }

    /// Says so until `ended`, and forgets the group then.
    pub(crate) async fn keep_until(mut self, ended: impl Future) {
        tokio::select! {
            biased;
            _ = ended => {}
            () = self.keep() => {}
        }
        // Where it cannot be told now, somebody else will.
        let _ = self.inner.transport.log().forget_group(self.event, &self.group).await;
        self.lease.release().await;
    }

    async fn keep(&mut self) {
        let time = time(&self.inner);
        loop {
            self.lease.keep().await;
            loop {
                let since = Instant::now();
                match acquire(&self.inner, self.event, &self.group, time).await {
                    Ok(Some(lease)) => {
                        self.lease = KeptLease::new(lease, time, since);
                        break;
                    }
                    Err(TransportError::Closed) => return,
                    Ok(None) | Err(_) => sleep(time / 12).await,
                }
            }
        }
    }
}

/// Forgets those of these groups whose process is gone.
pub(crate) async fn forget_ownerless(
    inner: &Inner,
    event: &str,
    groups: Vec<String>,
) -> Result<(), TransportError> {
    for group in groups.into_iter().filter(|group| shared_name(group).is_some()) {
        if let Some(lease) = acquire(inner, event, &group, time(inner)).await? {
            inner.transport.log().forget_group(event, &group).await?;
            lease.release().await?;
            tracing::info!(target: "logcontext::bus", event, group, "the process of a group is gone: it is forgotten");
        }
    }
    Ok(())
}

async fn acquire(
    inner: &Inner,
    event: &str,
    group: &str,
    time: Duration,
) -> Result<Option<Arc<dyn Lease>>, TransportError> {
    inner.transport.leases().acquire(&format!("alive {event} {group}"), time).await
}

/// Longer than a broker may take to come back: a group that is forgotten has lost its place.
fn time(inner: &Inner) -> Duration {
    inner.config.claim_after * 4
}

//! Leases have one holder, and who takes part is counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Case;
use super::case::soon;
use super::peer::Peer;
use crate::transport::Lease;

const LONG: Duration = Duration::from_secs(600);

impl Peer {
    async fn lease(&self, name: &str, time: Duration) -> Option<Arc<dyn Lease>> {
        soon("a lease", self.transport.leases().acquire(name, time)).await.expect("a lease")
    }

    /// Tries over and over, until nobody else has it.
    async fn lease_at_last(&self, name: &str, time: Duration) -> Arc<dyn Lease> {
        let mut ticks = interval(Duration::from_millis(20));
        let acquired = async {
            loop {
                ticks.tick().await;
                if let Some(lease) = self.lease(name, time).await {
                    return lease;
                }
            }
        };
        soon("the lease runs out", acquired).await
    }

    async fn take_part(&self, name: &str, time: Duration) -> usize {
        soon("taking part", self.transport.leases().take_part(name, time)).await.expect("taking part")
    }
}

async fn renews(lease: &Arc<dyn Lease>) -> bool {
    soon("a lease is renewed", lease.renew()).await.expect("a lease is renewed")
}

/// While one has it no other gets it, the same bus neither; others are free.
pub async fn a_lease_has_one_holder(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let lease = a.lease("one", LONG).await.expect("it is free");
    assert!(a.lease("one", LONG).await.is_none());
    assert!(b.lease("one", LONG).await.is_none());
    assert!(b.lease("other", LONG).await.is_some());
    assert!(renews(&lease).await);
}

/// Released, it is free at once. Dropped, it is free soon.
pub async fn a_lease_that_is_released_or_dropped_is_free(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let first = a.lease("one", LONG).await.expect("it is free");
    soon("a release", first.release()).await.expect("a release");
    let second = b.lease("one", LONG).await.expect("it is free again");
    assert!(!renews(&first).await);
    // What is not one's own any more cannot be let go.
    soon("a release", first.release()).await.expect("a release");
    drop(first);
    assert!(a.lease("one", LONG).await.is_none());
    assert!(renews(&second).await);
    drop(second);
    a.lease_at_last("one", LONG).await;
}

/// Who does not renew loses it, and learns so; who renews keeps it.
pub async fn a_lease_that_is_not_renewed_is_free_again(case: Case) {
    let time = Duration::from_secs(2);
    let (a, b) = (case.connect(), case.connect());
    let kept = a.lease("kept", time).await.expect("it is free");
    let lost = a.lease("lost", time).await.expect("it is free");
    let renew = async {
        let mut ticks = interval(time / 20);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            assert!(renews(&kept).await);
        }
    };
    let taken = tokio::select! {
        taken = b.lease_at_last("lost", LONG) => taken,
        () = renew => unreachable!("it is renewed for ever"),
    };
    assert!(!renews(&lost).await);
    assert!(renews(&kept).await);
    assert!(b.lease("kept", time).await.is_none());
    drop(lost);
    assert!(renews(&taken).await);
}

/// Those who say so are counted, each once, until they leave, say it no more, or are closed.
pub async fn who_takes_part_is_counted(case: Case) {
    let (a, b, c) = (case.connect(), case.connect(), case.connect());
    assert_eq!(a.take_part("one", LONG).await, 1);
    assert_eq!(a.take_part("one", LONG).await, 1);
    assert_eq!(b.take_part("one", LONG).await, 2);
    assert_eq!(b.take_part("other", LONG).await, 1);
    assert_eq!(c.take_part("one", Duration::from_millis(200)).await, 3);
    soon("leaving", b.transport.leases().leave("one")).await.expect("leaving");
    let mut ticks = interval(Duration::from_millis(20));
    let alone = async {
        while a.take_part("one", LONG).await > 1 {
            ticks.tick().await;
        }
    };
    soon("who says it no more does not count", alone).await;
    assert_eq!(b.take_part("one", LONG).await, 2);
}

//! What the processes of one service share, and what each has for itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Case;
use super::case::soon;
use super::service::{Changed, Service};
use crate::{BusConfig, Retention, Shard, Sharding};

fn quick(config: BusConfig) -> BusConfig {
    let retention = Retention::default().every(Duration::from_millis(500));
    BusConfig { claim_after: Duration::from_secs(1), retention, ..config }
}

/// Where an event goes to one process of a service, one that is everybody's goes to each; what is left of a process that is
/// gone is forgotten.
pub async fn each_process_hears_each_event_and_is_forgotten_when_it_is_gone(case: Case) {
    let mut heard = Vec::new();
    let mut services = Vec::new();
    for _ in 0..3 {
        let service = case.service_with("presence", quick);
        let (tell, told) = mpsc::unbounded_channel();
        let handler = move |event: Changed| {
            let _ = tell.send(event.n);
            async {}
        };
        service.bus.listen("news", handler).every_process().start().await.expect("it listens");
        services.push(service);
        heard.push(told);
    }
    services[0].fire_all("alice", 0..20).await;
    for told in &mut heard {
        let mut numbers = Vec::new();
        while numbers.len() < 20 {
            numbers.push(soon("each hears it", told.recv()).await.expect("each hears it"));
        }
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..20));
    }
    let (dead, lives) = (services.swap_remove(2), services.remove(0));
    dead.kill().await;
    services.remove(0).end().await;
    let forgotten = async {
        while lives.bus.groups("conformance.changed").await.expect("the groups").len() > 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("those that are gone are forgotten", forgotten).await;
    lives.end().await;
}

/// Who holds which shard, for as long as that runs.
type Held = Arc<Mutex<BTreeMap<u16, usize>>>;

struct At(Held, u16);

impl Drop for At {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

fn share(service: &Service, who: usize, held: &Held) -> Sharding {
    let held = Arc::clone(held);
    let run = move |shard: Shard| {
        let held = Arc::clone(&held);
        async move {
            let before = held.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.number(), who);
            let _at = At(held, shard.number());
            assert_eq!(before, None, "one at a time");
            shard.lost().await;
        }
    };
    service.bus.shard("conformance", 4, run).expect("it is shared")
}

/// Each shard is somebody's, and nobody else's, as processes come, leave and die.
pub async fn each_shard_is_held_by_one_process_and_moves_when_that_is_gone(case: Case) {
    let held = Held::default();
    let mut services = Vec::new();
    for who in 0..2 {
        let service = case.service_with("presence", quick);
        let sharding = share(&service, who, &held);
        services.push((service, sharding));
    }
    let reaches = async |expected: &[usize], services: &[(Service, Sharding)]| {
        let shared = async {
            loop {
                let mut shares: Vec<_> = services.iter().map(|(_, sharding)| sharding.held()).collect();
                shares.sort_unstable();
                if shares == expected && held.lock().unwrap_or_else(PoisonError::into_inner).len() == 4 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("shards are shared", shared).await;
    };
    reaches(&[2, 2], &services).await;
    let (dead, _) = services.remove(0);
    dead.kill().await;
    reaches(&[4], &services).await;
    let service = case.service_with("presence", quick);
    let sharding = share(&service, 2, &held);
    services.push((service, sharding));
    reaches(&[2, 2], &services).await;
    for (service, sharding) in services {
        service.end().await;
        soon("it ends", sharding.stopped()).await;
    }
    assert!(held.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
}

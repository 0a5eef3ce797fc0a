//! The sender: works out which hubs have to be told of a change of presence, and tells them.
//!
//! Destinations are split into [`SHARDS`] shards, each held by one process at a time. Whoever holds a shard hears of every
//! change, and puts it into the queue of each destination that follows the user: of each user the newest, at most 50 in a
//! transaction, one transaction at a time. A change counts as handled when each of them has it, or something newer of the
//! same user waits, or it is written down that the destination is behind, and from where on it has to catch up. The design
//! is in `docs/design.md`, "The sender".

mod backoff;
mod client;
mod destination;
mod figures;
mod follows;
mod handlers;
mod loading;
mod outgoing;
mod persistently;
mod queue;
mod receipt;
mod shard;
mod shared;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use logcontext::source::Source;
use logcontext_bus::{Bus, Shard, Sharding};
use logcontext_service::BoxError;
use tokio::time::timeout;

use crate::federation::{FederationSettings, HubName};
use crate::store::Store;
use shared::Shared;
use transaction::Peer;

/// How many shards the destinations are split into.
pub const SHARDS: u16 = 16;

/// A sender that runs.
#[derive(Debug)]
pub struct Sender {
    sharding: Sharding,
    shared: Arc<Shared>,
}

/// Begins to tell the other hubs of the settings what they follow. To be called in a context, of a hub that has a name.
///
/// A broker in this process forgets with it what it was told: then each hub is told everything again at the start
/// (`is_kept` is false).
///
/// # Errors
/// If the bus takes no more, or somebody sends by it already.
pub fn start(
    bus: &Bus,
    store: &Arc<Store>,
    settings: &FederationSettings,
    is_kept: bool,
) -> Result<Sender, BoxError> {
    let shared = Arc::new(Shared::new(store, settings, is_kept));
    let figures: Arc<dyn Source> = shared.figures.clone();
    shared.supervisor.register(&figures);
    let (settings, of_shards, hubs_bus) = (settings.clone(), Arc::clone(&shared), bus.clone());
    let sharding = bus.shard("sender", SHARDS, move |shard: Shard| {
        let (shared, bus, settings) = (Arc::clone(&of_shards), hubs_bus.clone(), settings.clone());
        async move {
            let wanted = wanted(&settings, shard.number());
            shard::hold(shared, bus, shard.number(), wanted, shard.lost()).await;
        }
    })?;
    Ok(Sender { sharding, shared })
}

impl Sender {
    /// Lets go of all shards, and waits for that until the deadline. To be called before the bus is closed.
    pub async fn close(&self, deadline: Duration) {
        self.sharding.stop();
        if timeout(deadline, self.sharding.stopped()).await.is_err() {
            tracing::warn!("the sender has not ended in time: others take its shards over");
        }
    }

    /// How many shards are held here.
    pub fn held(&self) -> usize {
        self.sharding.held()
    }

    /// How many hubs something waits to be sent to, or is being sent to.
    pub fn pending_destinations(&self) -> usize {
        self.shared.figures.pending().destinations
    }

    /// How many states wait to be sent or are being sent, of all hubs together.
    pub fn pending_states(&self) -> usize {
        self.shared.figures.pending().states
    }

    /// How many hubs could not be told, and have to catch up.
    pub fn behind(&self) -> usize {
        self.shared.figures.pending().behind
    }
}

/// Which shard a hub is of: the same in all processes and versions (FNV-1a).
fn shard_of(hub: &HubName) -> u16 {
    let hash = hub.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % u64::from(SHARDS)) as u16
}

/// The destinations of a shard.
fn wanted(settings: &FederationSettings, number: u16) -> Vec<shard::Wanted> {
    let of_shard = settings.others().filter(|(name, _)| shard_of(name) == number);
    // What cannot be sent is refused by the settings' check.
    of_shard.filter_map(|(name, hub)| Some((Peer::new(&name, hub).ok()?, hub.follows_all))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_stay_in_their_shards_and_are_spread_over_all_of_them() {
        let hub = |name: &str| shard_of(&name.parse().unwrap());
        assert_eq!((hub("one"), hub("two")), (hub("one"), hub("two")));
        let mut shards = [0; SHARDS as usize];
        (0..1_000).for_each(|n| shards[usize::from(hub(&format!("hub-{n}")))] += 1);
        assert!(shards.iter().all(|hubs| (30..100).contains(hubs)), "{shards:?}");
    }
}

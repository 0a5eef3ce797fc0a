//! What a shard knows when it is taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::destination::{Destination, ShardEnd};
use super::follows::{Follows, Place};
use super::persistently::{Stopped, persistently};
use super::shard::Wanted;
use super::shard_of;
use super::shared::Shared;
use crate::store::Position;
use crate::time::Timestamp;

/// Destinations that are behind are spread over so long each, and over so long at most.
const SPREAD: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

/// The shard's destinations, and whom they follow. What was known of hubs that there are no more is forgotten: if they come
/// back they are told everything.
pub(super) async fn load(
    shared: &Arc<Shared>,
    number: u16,
    wanted: Vec<Wanted>,
    end: &ShardEnd,
) -> Result<(Vec<Arc<Destination>>, Follows), Stopped> {
    let (store, stop) = (&shared.store, &end.stop);
    for hub in persistently(stop, || store.destinations()).await? {
        if shard_of(&hub) == number && !wanted.iter().any(|(peer, _)| peer.name == hub) {
            persistently(stop, || store.forget_destination(&hub)).await?;
        }
    }
    let mut known = Vec::with_capacity(wanted.len());
    let mut follows = Follows::default();
    for (n, (peer, follows_all)) in wanted.into_iter().enumerate() {
        // There are fewer in the settings.
        let place = Place::try_from(n).unwrap_or(Place::MAX);
        if follows_all {
            follows.add_all(place);
        } else {
            for user in persistently(stop, || store.followed_by(&peer.name)).await? {
                follows.set(&user, place, true);
            }
        }
        let mut destination = persistently(stop, || store.destination(&peer.name, follows_all)).await?;
        if !shared.is_kept {
            let (start, failures) = (Position::START, destination.failures);
            let all = || store.fall_behind(&peer.name, &start, failures, destination.retry_at);
            persistently(stop, all).await?;
            destination.behind = Some(start);
        }
        known.push((peer, follows_all, destination));
    }
    let behind = known.iter().filter(|(_, _, known)| known.behind.is_some()).count();
    let spread = SPREAD.0.saturating_mul(u32::try_from(behind).unwrap_or(u32::MAX)).min(SPREAD.1);
    let destination = |(peer, follows_all, known): (_, _, crate::store::Destination)| {
        // The clock may have been set: nobody waits longer than the limit.
        let left = Timestamp::now().ago(known.retry_at).min(shared.backoff.limit);
        let due = Instant::now() + left.max(spread.mul_f64(fastrand::f64()));
        Destination::new(peer, follows_all, known, due, shared, end)
    };
    Ok((known.into_iter().map(destination).collect(), follows))
}

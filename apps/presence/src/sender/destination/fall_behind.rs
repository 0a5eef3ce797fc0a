//! A hub that could not be told.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::persistently::{Stopped, persistently};
use super::Standing;
use super::transmit::Running;
use crate::store::Position;
use crate::time::Timestamp;
use crate::user::UserId;

impl Running {
    /// Writes down where the hub has to catch up from, so that it covers all that waits, and is done with that. From there
    /// on what comes is not queued. The process has ended then.
    ///
    /// # Errors
    /// If the shard is not ours any more: what waits is left for the next who has it.
    pub(super) async fn fall_behind(
        &mut self,
        position: Option<Position>,
        failures: u32,
        why: &str,
        asked: Option<Duration>,
    ) -> Result<(), Stopped> {
        let destination = std::sync::Arc::clone(&self.destination);
        let (shared, hub, stop) = (&destination.shared, destination.hub(), &destination.shard.stop);
        let pause = shared.backoff.pause(failures, asked);
        tracing::warn!(%hub, error = why, failures, retry_in = ?pause, "a hub cannot be told: it is behind");
        let (due, retry_at) = (Instant::now() + pause, Timestamp::now().after(pause));

        let _changing = destination.changing.lock().await;
        // While a hub that is behind was tried again, its position may have moved back.
        let now = destination.lock().standing.position().cloned();
        let mut position = position.into_iter().chain(now).min();
        let mut covered: HashMap<UserId, i64> = HashMap::new();
        let mut is_written = false;
        loop {
            // What comes meanwhile waits as well: until nothing is left that the position does not cover.
            let uncovered: Vec<(UserId, i64)> = {
                let mut state = destination.lock();
                let is_covered = |user, revision, last_active| {
                    position.as_ref().is_some_and(|position| position.is_before(last_active))
                        || covered.get(user).is_some_and(|known| *known >= revision)
                };
                let waiting = state.queue.waiting();
                let uncovered: Vec<_> = waiting
                    .filter(|state| !is_covered(&state.user, state.revision, state.last_active))
                    .map(|state| (state.user.clone(), state.revision))
                    .collect();
                if let (true, true, Some(position)) = (uncovered.is_empty(), is_written, &position) {
                    state.queue.settle(|_| true);
                    state.standing = Standing::Waiting { position: position.clone(), failures, due };
                    self.over(&mut state);
                    return Ok(());
                }
                uncovered
            };
            let users: Vec<_> = uncovered.iter().map(|(user, _)| user.clone()).collect();
            let first = persistently(stop, || shared.store.first_changed(&users)).await?;
            covered.extend(uncovered);
            let first = first.map(Position::before).into_iter().chain(position.take()).min();
            // Nobody is known of whom it was to be told: there is nothing before now.
            let first = first.unwrap_or_else(|| Position::before(Timestamp::now()));
            let write = || shared.store.fall_behind(hub, &first, failures, retry_at);
            persistently(stop, write).await?;
            (position, is_written) = (Some(first), true);
        }
    }
}

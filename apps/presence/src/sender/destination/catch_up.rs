//! A hub that catches up.

use std::sync::Arc;

use logcontext_db::Error;

use super::super::outgoing::Outgoing;
use super::super::persistently::{Stopped, persistently};
use super::super::transaction::Sent;
use super::transmit::Running;
use super::{Destination, Standing};
use crate::federation::{MAX_STATES, ToldState};
use crate::presence::State as Presence;
use crate::store::{Change, Page, Position};
use crate::time::Timestamp;

impl Running {
    /// Tells a hub all it has missed, page by page, and answers whether it has: if not, it is behind again, and the process
    /// has ended.
    ///
    /// From the beginning on what comes is queued, so nothing is missed at the end. Between two pages all of that is seen
    /// to: what has changed after the position is on a page that has not been read yet, and the position is written down,
    /// so that is as good as done; the rest is sent.
    pub(super) async fn catch_up(&mut self) -> Result<bool, Stopped> {
        let destination = Arc::clone(&self.destination);
        let (shared, stop) = (&destination.shared, &destination.shard.stop);
        // It is never closed.
        let _turn = shared.catching_up.acquire().await;
        let Some((mut position, mut failures)) = destination.begin_to_catch_up().await else {
            return Ok(true);
        };
        loop {
            let waiting = {
                let mut state = destination.lock();
                state.queue.settle(|state| position.is_before(state.last_active));
                state.queue.begin()
            };
            let (states, next) = match waiting {
                Some(states) => (states, None),
                None => {
                    let page = persistently(stop, || destination.page(&position)).await?;
                    let Some(last) = page.last() else { break };
                    let next = Position { at: last.changed_at, user: Some(last.user.clone()) };
                    (outgoing(&page, Timestamp::now().before(shared.stale_after)), Some(next))
                }
            };
            match destination.peer.send(shared, &states).await {
                Sent::Done => failures = 0,
                Sent::Failed { why, asked } => {
                    destination.lock().queue.failed();
                    self.fall_behind(Some(position), failures.saturating_add(1), &why, asked).await?;
                    return Ok(false);
                }
            }
            match next {
                None => destination.lock().queue.delivered(),
                Some(next) => {
                    persistently(stop, || shared.store.move_position(destination.hub(), &next)).await?;
                    position = next;
                }
            }
        }
        let _changing = destination.changing.lock().await;
        persistently(stop, || shared.store.caught_up(destination.hub())).await?;
        destination.lock().standing = Standing::Live;
        tracing::info!(hub = %destination.hub(), "a hub has caught up");
        Ok(true)
    }
}

impl Destination {
    /// From now on what comes is queued. Whoever lowers the position has done so by then.
    async fn begin_to_catch_up(&self) -> Option<(Position, u32)> {
        let _changing = self.changing.lock().await;
        let mut state = self.lock();
        let Standing::Waiting { position, failures, .. } = &state.standing else { return None };
        let from = (position.clone(), *failures);
        state.standing = Standing::CatchingUp;
        Some(from)
    }

    async fn page(&self, after: &Position) -> Result<Vec<Change>, Error> {
        let page = Page { hub: self.hub(), of_all: self.follows_all, after, limit: MAX_STATES };
        self.shared.store.changes(&page).await
    }
}

/// As they are sent. Who has not been active since `active_since` is offline, whatever they were.
fn outgoing(page: &[Change], active_since: Timestamp) -> Vec<Arc<Outgoing>> {
    let state = |change: &Change| {
        let mut state = ToldState::new(change.user.clone(), change.presence.clone());
        if state.last_active < active_since {
            state.presence = Presence::Offline;
        }
        Outgoing::new(&state)
    };
    page.iter().map(state).collect()
}

//! A hub that catches up.

use std::collections::HashMap;
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
use crate::user::UserId;

impl Running {
    /// Tells a hub all it has missed, page by page, and answers whether it has: if not, it is behind again, and the process
    /// has ended.
    ///
    /// From before the first page on what comes is queued, so nothing is missed at the end. Between two pages all of that
    /// is seen to: what has changed after the position is on a page that has not been read yet, and the position is written
    /// down, so that is as good as done; the rest is sent.
    pub(super) async fn catch_up(&mut self) -> Result<bool, Stopped> {
        let destination = Arc::clone(&self.destination);
        let (shared, stop) = (&destination.shared, &destination.shard.stop);
        // It is never closed.
        let _turn = shared.catching_up.acquire().await;
        let Some(told) = self.probe().await? else { return Ok(false) };
        let Some(mut position) = destination.begin_to_catch_up().await else { return Ok(true) };
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
                    let mut states = destination.outgoing(&page);
                    states.retain(|state| told.get(&state.user) != Some(&state.revision));
                    (states, Some(next))
                }
            };
            if !states.is_empty()
                && let Sent::Failed { why, asked } = destination.peer.send(shared, &states).await
            {
                destination.lock().queue.failed();
                self.fall_behind(Some(position), 1, &why, asked).await?;
                return Ok(false);
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

    /// Sends the first page, to see whether the hub is there: what comes meanwhile is not queued, as it may take until the
    /// timeout to learn that it is not. For the same reason the position stays where it is, and whoever was told is
    /// answered, to be left out where the page is read again. `None` if it is behind as before, and the process has ended.
    async fn probe(&mut self) -> Result<Option<HashMap<UserId, i64>>, Stopped> {
        let destination = Arc::clone(&self.destination);
        let standing = destination.lock().standing.clone();
        let Standing::Waiting { position, failures, .. } = standing else { return Ok(Some(HashMap::new())) };
        let page = persistently(&destination.shard.stop, || destination.page(&position)).await?;
        let states = destination.outgoing(&page);
        if !states.is_empty()
            && let Sent::Failed { why, asked } = destination.peer.send(&destination.shared, &states).await
        {
            self.fall_behind(Some(position), failures.saturating_add(1), &why, asked).await?;
            return Ok(None);
        }
        Ok(Some(states.iter().map(|state| (state.user.clone(), state.revision)).collect()))
    }
}

impl Destination {
    /// From now on what comes is queued. Whoever lowers the position has done so by then.
    async fn begin_to_catch_up(&self) -> Option<Position> {
        let _changing = self.changing.lock().await;
        let mut state = self.lock();
        let position = state.standing.position().cloned()?;
        state.standing = Standing::CatchingUp;
        Some(position)
    }

    async fn page(&self, after: &Position) -> Result<Vec<Change>, Error> {
        let page = Page { hub: self.hub(), of_all: self.follows_all, after, limit: MAX_STATES };
        self.shared.store.changes(&page).await
    }

    /// As they are sent. Who has not been active for long is offline, whatever they were.
    fn outgoing(&self, page: &[Change]) -> Vec<Arc<Outgoing>> {
        let active_since = Timestamp::now().before(self.shared.stale_after);
        let state = |change: &Change| {
            let mut state = ToldState::new(change.user.clone(), change.presence.clone());
            if state.last_active < active_since {
                state.presence = Presence::Offline;
            }
            Outgoing::new(&state)
        };
        page.iter().map(state).collect()
    }
}

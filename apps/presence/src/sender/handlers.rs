//! What handles the events that come for a shard.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::destination::{Destination, ShardEnd};
use super::follows::{Follows, Place};
use super::outgoing::Outgoing;
use super::persistently::{Stopped, persistently};
use super::receipt::Receipts;
use super::shared::Shared;
use crate::bus::PresenceChanged;
use crate::federation::{FollowsChanged, ToldState};

/// The handlers of one shard.
pub(super) struct Handlers {
    shared: Arc<Shared>,
    end: ShardEnd,
    /// Set once all is read.
    known: OnceCell<Known>,
    /// Closed from then on.
    reading: Semaphore,
    /// One change of the follows after the other: the last to be written is the last to have been read.
    following: Mutex<()>,
}

struct Known {
    destinations: Vec<Arc<Destination>>,
    follows: RwLock<Follows>,
}

impl Handlers {
    pub(super) fn new(shared: &Arc<Shared>, end: &ShardEnd) -> Self {
        Self {
            shared: Arc::clone(shared),
            end: end.clone(),
            known: OnceCell::new(),
            reading: Semaphore::new(0),
            following: Mutex::new(()),
        }
    }

    /// All is read: events may be handled.
    pub(super) fn begin(&self, destinations: Vec<Arc<Destination>>, follows: Follows) {
        let _ = self.known.set(Known { destinations, follows: RwLock::new(follows) });
        self.reading.close();
    }

    /// Tells all who follow, and completes when each has it, or it is written down that it has to catch up.
    pub(super) async fn presence_changed(&self, changed: PresenceChanged) -> Result<(), Stopped> {
        let known = self.known().await?;
        let places = known.follows.read().unwrap_or_else(PoisonError::into_inner).of(&changed.user);
        if places.is_empty() {
            return Ok(());
        }
        let PresenceChanged { user, presence, status_msg, last_active, revision } = changed;
        let state = ToldState { user, presence, status_msg, last_active, revision };
        self.tell(known, &places, &state).await
    }

    /// Looks who follows whom now. Whoever has begun to is told what there is.
    pub(super) async fn follows_changed(&self, changed: FollowsChanged) -> Result<(), Stopped> {
        let known = self.known().await?;
        let hub = |destination: &Arc<Destination>| destination.hub().as_str() == changed.hub;
        let Some(at) = known.destinations.iter().position(hub) else { return Ok(()) };
        let (destination, place) = (&known.destinations[at], Place::try_from(at).unwrap_or(Place::MAX));
        let (store, stop, user) = (&self.shared.store, &self.end.stop, &changed.user);
        let follows = {
            let _following = self.following.lock().await;
            let follows = persistently(stop, || store.is_followed_by(destination.hub(), user)).await?;
            known.follows.write().unwrap_or_else(PoisonError::into_inner).set(user, place, follows);
            follows
        };
        // After that: what changes from now on comes as an event, what has changed before is in the database.
        if follows && let Some(change) = persistently(stop, || store.change(user)).await? {
            self.tell(known, &[place], &ToldState::new(change.user, change.presence)).await?;
        }
        Ok(())
    }

    async fn tell(&self, known: &Known, places: &[Place], state: &ToldState) -> Result<(), Stopped> {
        let (state, receipts) = (Outgoing::new(state), Receipts::new());
        for place in places {
            if let Some(destination) = known.destinations.get(usize::from(*place)) {
                destination.put(&state, receipts.give()).await?;
            }
        }
        receipts.settled().await.map_err(|_| Stopped)
    }

    async fn known(&self) -> Result<&Known, Stopped> {
        let reading = async { drop(self.reading.acquire().await) };
        self.end.stop.run_until_cancelled(reading).await.ok_or(Stopped)?;
        self.known.get().ok_or(Stopped)
    }
}

//! [`Destination`]: one hub, and where it stands.
//!
//! Who brings a state, and what sends, meet in one lock that is held for some instructions; who changes where the hub
//! stands, in the database and here, does so one after the other (`changing`). What the database says is never later than
//! what is known here, so whatever the position known here covers may be acknowledged.

mod catch_up;
mod fall_behind;
mod put;
mod standing;
mod transmit;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::transaction::Peer;
use crate::store::Destination as Known;
use standing::{Standing, State};

/// One hub that is told of presence by a shard that is held here.
pub(super) struct Destination {
    peer: Peer,
    follows_all: bool,
    shared: Arc<Shared>,
    state: Mutex<State>,
    changing: tokio::sync::Mutex<()>,
    shard: ShardEnd,
}

/// What a destination knows of its shard.
#[derive(Clone, Debug)]
pub(super) struct ShardEnd {
    /// The shard is another's from now on: nothing may be sent any more.
    pub(super) stop: CancellationToken,
    /// Something has ended, or has to be tried again at some time.
    pub(super) changed: Arc<Notify>,
}

impl Destination {
    pub(super) fn new(
        peer: Peer,
        follows_all: bool,
        known: Known,
        due: Instant,
        shared: &Arc<Shared>,
        shard: &ShardEnd,
    ) -> Arc<Self> {
        let standing = match known.behind {
            None => Standing::Live,
            Some(position) => Standing::Waiting { position, failures: known.failures, due },
        };
        Arc::new(Self {
            peer,
            follows_all,
            shared: Arc::clone(shared),
            state: Mutex::new(State { queue: super::queue::Queue::default(), standing, is_running: false }),
            changing: tokio::sync::Mutex::new(()),
            shard: shard.clone(),
        })
    }

    /// The name of the hub.
    pub(super) fn hub(&self) -> &crate::federation::HubName {
        &self.peer.name
    }

    /// How many states wait or are being sent, and whether the hub has to catch up.
    pub(super) fn pending(&self) -> (usize, bool) {
        let state = self.lock();
        (state.queue.len(), !matches!(state.standing, Standing::Live))
    }

    /// Whether its process runs.
    pub(super) fn is_running(&self) -> bool {
        self.lock().is_running
    }

    /// When to try again, if it waits for that.
    pub(super) fn due(&self) -> Option<Instant> {
        match &*self.lock() {
            State { standing: Standing::Waiting { due, .. }, is_running: false, .. } => Some(*due),
            _ => None,
        }
    }

    /// Nobody here sees to what waits any more.
    pub(super) fn abandon(&self) {
        self.lock().queue.abandon();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("hub", &self.peer.name).finish_non_exhaustive()
    }
}

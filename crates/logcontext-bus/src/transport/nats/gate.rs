//! Who wants to send something waits here for a place, each kind in a queue of its own.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::failure::Failure;

/// The kinds. None keeps another from its turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// What keeps all else going: acknowledgements, claims, leases, looks at what is stored.
    Upkeep,
    Events,
    Calls,
    /// Calls from handlers: whatever waits in front of those waits for a handler, perhaps.
    NestedCalls,
    Replies,
}

const KINDS: usize = 5;

/// So many of each kind wait for a connection; more wait for a place.
pub(super) struct Gate {
    kinds: [Semaphore; KINDS],
    capacity: usize,
    is_closed: AtomicBool,
    under_way: TaskTracker,
}

/// A place in a queue.
pub(super) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    under_way: UnderWay,
}

/// While there is one, the transport is not done.
pub(super) struct UnderWay {
    _token: TaskTrackerToken,
}

impl Place<'_> {
    /// It is sent: others may have the place.
    pub(super) fn leave(self) -> UnderWay {
        self.under_way
    }
}

impl Gate {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(Semaphore::MAX_PERMITS);
        let kinds = std::array::from_fn(|_| Semaphore::new(capacity));
        Self { kinds, capacity, is_closed: AtomicBool::new(false), under_way: TaskTracker::new() }
    }

    /// A place, unless nothing more is taken.
    pub(super) async fn enter(&self, kind: Kind) -> Result<Place<'_>, Failure> {
        if self.is_closed() {
            return Err(Failure::Closed);
        }
        self.enter_anyway(kind).await
    }

    /// The same for what belongs to the end of something.
    pub(super) async fn enter_anyway(&self, kind: Kind) -> Result<Place<'_>, Failure> {
        let under_way = UnderWay { _token: self.under_way.token() };
        let permit = self.kinds[kind as usize].acquire().await.map_err(|_| Failure::Closed)?;
        Ok(Place { _permit: permit, under_way })
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.under_way.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Completes when it is closed and all that was taken is done.
    pub(super) async fn done(&self) {
        self.under_way.wait().await;
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.iter().map(|kind| self.capacity - kind.available_permits()).sum()
    }

    pub(super) fn is_full(&self) -> bool {
        self.kinds.iter().any(|kind| kind.available_permits() == 0)
    }
}

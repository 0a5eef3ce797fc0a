//! What is kept for a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(super) struct Entry<V> {
    pub(super) value: V,
    pub(super) deadline: Deadline,
    /// Which record of the schedule is its own; 0 if none.
    pub(super) record: u64,
    /// When that record is due.
    pub(super) scheduled: Cell,
}

/// When an entry expires, by the cache's clock.
#[derive(Clone)]
pub(super) enum Deadline {
    Fixed(u64),
    /// Put off by so many nanoseconds at each read.
    Renewed(Arc<AtomicU64>, u64),
}

/// A number that can be changed under a lock that is shared.
pub(super) struct Cell(AtomicU64);

impl<V: Clone> Clone for Entry<V> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            deadline: self.deadline.clone(),
            record: self.record,
            scheduled: Cell::new(self.scheduled.get()),
        }
    }
}

impl Cell {
    #[inline]
    pub(super) fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

impl Deadline {
    #[inline]
    pub(super) fn at(&self) -> u64 {
        match self {
            Self::Fixed(at) => *at,
            Self::Renewed(at, _) => at.load(Relaxed),
        }
    }

    /// Does reading put it off?
    #[inline]
    pub(super) fn is_renewed(&self) -> bool {
        matches!(self, Self::Renewed(..))
    }

    /// Puts it off, if reading does that.
    #[inline]
    pub(super) fn read(&self, now: u64) {
        if let Self::Renewed(at, expiry) = self {
            // Two readers: the later one.
            at.fetch_max(now.saturating_add(*expiry), Relaxed);
        }
    }
}

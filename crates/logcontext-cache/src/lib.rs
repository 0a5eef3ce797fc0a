//! Shared lookups, expiring caches and keyed queues that know who runs and who pays.

mod keyed;

pub use keyed::{
    Access, Holder, KEYED_WAIT, KeyedRwLock, KeyedRwLockBuilder, Linearizer, LinearizerBuilder, QueueKey,
    Queued, Reading, Turn, Waiter, Writing,
};

/// The guide's examples on queues are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/keyed.md")]
pub struct KeyedGuide;

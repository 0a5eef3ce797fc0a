//! Shared lookups, expiring caches and keyed queues that know who runs and who pays.

mod keyed;

pub use keyed::{
    Access, Holder, KEYED_WAIT, KeyedRwLock, KeyedRwLockBuilder, Linearizer, LinearizerBuilder, QueueKey,
    Queued, Reading, Turn, Waiter, Writing,
};

//! Shared lookups, expiring caches and keyed queues that know who runs and who pays.
//!
//! - [`CachedLookup`]: callers that meet share one lookup, which runs in a context of its own. Who pays is said by
//!   [`ChargeTo`]. Synapse: `@cached`, `DeferredCache`, `ResponseCache`.
//! - [`ExpiringCache`]: forgets by itself, in a background process of its own. Synapse: `ExpiringCache`.
//! - [`Linearizer`], [`KeyedRwLock`]: one after the other for each key, in the order of arrival, with who holds it and
//!   who waits. Synapse: `Linearizer`, `ReadWriteLock`.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod count;
mod expiring;
mod figures;
mod keyed;
mod lookup;
mod store;
mod sync;

pub use expiring::{EvictionCause, ExpiringBuilder, ExpiringCache};
pub use keyed::{
    Access, Holder, KEYED_WAIT, KeyedRwLock, KeyedRwLockBuilder, Linearizer, LinearizerBuilder, QueueKey,
    Queued, Reading, Turn, Waiter, Writing,
};
pub use lookup::{CachedLookup, ChargeTo, LookupBuilder, LookupError};

/// The guide's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/sharing.md")]
#[doc = include_str!("../../../docs/guide/keyed.md")]
pub struct Guide;

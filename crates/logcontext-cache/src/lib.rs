//! Shared lookups, expiring caches and keyed queues that know who runs and who pays.
//!
//! - [`CachedLookup`]: callers that meet share one lookup, which runs in a context of its own. Who pays is said by
//!   [`ChargeTo`]. Synapse: `@cached`, `DeferredCache`, `ResponseCache`.
//! - [`ExpiringCache`]: forgets by itself, in a background process of its own. Synapse: `ExpiringCache`.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod count;
mod expiring;
mod figures;
mod lookup;
mod store;
mod sync;

pub use expiring::{EvictionCause, ExpiringBuilder, ExpiringCache};
pub use lookup::{CachedLookup, ChargeTo, LookupBuilder, LookupError};

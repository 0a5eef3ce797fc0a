//! Who holds what, and who waits for it.

use logcontext::LogContext;
use tokio::time::Instant;

use super::access::Access;
use super::places::Places;

/// Somebody who holds a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder<K> {
    /// The key.
    pub key: K,
    /// What for.
    pub access: Access,
    /// The context that has taken it.
    pub context: LogContext,
    /// Since when it holds it.
    pub since: Instant,
}

/// Somebody who waits for a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiter<K> {
    /// The key.
    pub key: K,
    /// What for.
    pub access: Access,
    /// The context that waits.
    pub context: LogContext,
    /// Since when it waits.
    pub since: Instant,
}

/// All holders or all waiters, those who have been it for longest first; of one key, in their order.
pub(super) fn list<K: Clone, T>(
    places: &Places<K>,
    holders: bool,
    make: fn(K, Access, LogContext, Instant) -> T,
) -> Vec<T> {
    let mut found = Vec::new();
    places.each(holders, |key, access, seat| {
        found.push((seat.since, make(key.clone(), access, seat.context.clone(), seat.since)));
    });
    found.sort_by_key(|(since, _)| *since);
    found.into_iter().map(|(_, item)| item).collect()
}

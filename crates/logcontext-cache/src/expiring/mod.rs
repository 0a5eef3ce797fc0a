//! [`ExpiringCache`]: forgets by itself.

mod builder;
mod entry;
mod figures;
mod listener;
mod reaper;
mod schedule;
mod shared;

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

pub use builder::ExpiringBuilder;
pub use listener::EvictionCause;

use shared::Shared;

/// A cache whose entries expire. A background process of its own (`prune_cache-typing-0`) removes them, from the
/// cache's creation until its last handle is dropped; it sleeps until there is something to remove. Clones are the same
/// cache. Synapse: `ExpiringCache`.
///
/// What has expired is never returned, whether or not it has been removed yet; that follows at most a 128th of the
/// cache's expiry later, a second at most. Time is tokio's: tests that pause it pause the cache. The
/// figures are those of [`CachedLookup`](crate::CachedLookup), without the lookups.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use logcontext_cache::ExpiringCache;
/// use std::time::Duration;
///
/// let typing = ExpiringCache::builder("typing").expiry(Duration::from_secs(30)).capacity(10_000).build();
/// typing.insert("alice", 17);
/// tokio::time::sleep(Duration::from_secs(29)).await;
/// assert_eq!(typing.get("alice"), Some(17));
/// tokio::time::sleep(Duration::from_secs(1)).await;
/// assert_eq!(typing.get("alice"), None);
/// # }
/// ```
pub struct ExpiringCache<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    handle: Arc<Handle<K, V>>,
}

/// Ends the reaper when it is dropped.
struct Handle<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    shared: Arc<Shared<K, V>>,
}

impl<K, V> Drop for Handle<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.shared.is_closed.store(true, SeqCst);
        self.shared.wake.notify_one();
    }
}

impl<K, V> Deref for Handle<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Target = Arc<Shared<K, V>>;

    fn deref(&self) -> &Arc<Shared<K, V>> {
        &self.shared
    }
}

impl ExpiringCache<(), ()> {
    /// A cache with this name, which is what its figures and its background process are found by.
    pub fn builder(name: &str) -> ExpiringBuilder {
        ExpiringBuilder::new(name)
    }
}

impl<K, V> ExpiringCache<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps this value for this key, for the cache's expiry from now on, whatever was there before.
    pub fn insert(&self, key: K, value: V) {
        self.handle.insert(key, value, None);
    }

    /// The same with an expiry of its own.
    pub fn insert_with_expiry(&self, key: K, value: V, expiry: Duration) {
        self.handle.insert(key, value, Some(expiry));
    }

    /// A clone of the value, if it has not expired. Neither allocates (unless cloning the value does) nor knows of the
    /// executor.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.handle.hit(key)
    }

    /// The same, but counts as neither hit nor miss, renews nothing, and does not keep the entry from being evicted.
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let entry = self.handle.store.peek(key)?;
        self.handle.is_live(&entry).then_some(entry.value)
    }

    /// The value; made by `f`, and kept, if there is none or it has expired. Of callers that meet, on several threads,
    /// one makes it and the others block until it is done: what takes long, or waits, belongs in a
    /// [`CachedLookup`](crate::CachedLookup). If `f` asks for the same key again it waits for itself.
    pub fn get_or_insert_with(&self, key: K, f: impl FnOnce() -> V) -> V {
        self.handle.get_or_insert_with(key, None, f)
    }

    /// Removes the entry of this key, and gives back what was there if that had not expired.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.handle.remove(key)
    }

    /// Removes all entries.
    pub fn clear(&self) {
        self.handle.clear();
    }

    /// Clones of all entries that have not expired, in no particular order. What comes or goes meanwhile may be among
    /// them or not; nothing is locked between two of them.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> + '_ {
        let entries = self.handle.store.iter();
        entries.filter(|(_, entry)| self.handle.is_live(entry)).map(|(key, entry)| (key, entry.value))
    }

    /// How many entries there are, those included that have expired and are about to be removed.
    pub fn len(&self) -> usize {
        self.handle.store.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its name: as given, or numbered if that was taken.
    pub fn name(&self) -> &str {
        &self.handle.name
    }

    /// Bytes that the table of entries takes, what keys and values own elsewhere, and the schedule, apart.
    #[doc(hidden)]
    pub fn memory_used(&self) -> usize {
        self.handle.store.memory_used().total()
    }
}

impl<K, V> Clone for ExpiringCache<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<K, V> fmt::Debug for ExpiringCache<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpiringCache").field("name", &self.name()).finish_non_exhaustive()
    }
}

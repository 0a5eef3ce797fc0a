//! All that is shared by the buses that have one prefix.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustc_hash::FxHashMap;

use super::client::Client;
use super::leases::Leased;
use super::queue::Queue;
use super::stream::Stream;

/// What is looked up by name all the time and changes seldom.
pub(super) struct Table<T>(RwLock<FxHashMap<Arc<str>, Arc<T>>>);

#[derive(Default)]
pub(super) struct Space {
    pub(super) clients: Table<Client>,
    pub(super) queues: Table<Queue>,
    pub(super) streams: Table<Stream>,
    pub(super) leased: Mutex<Leased>,
    pub(super) schemas: Mutex<BTreeMap<String, String>>,
    last_id: AtomicU64,
}

impl Space {
    /// The stream of an event, which begins to be now if it was not.
    pub(super) fn stream(&self, event: &str) -> Arc<Stream> {
        self.streams.get_or_insert(event, Stream::new)
    }

    /// A number that nothing else has here.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Relaxed)
    }
}

impl<T> Table<T> {
    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.read().get(name).cloned()
    }

    pub(super) fn get_or_insert(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        self.get(name).unwrap_or_else(|| {
            Arc::clone(self.write().entry(name.into()).or_insert_with(|| Arc::new(make())))
        })
    }

    pub(super) fn insert(&self, name: Arc<str>, value: Arc<T>) {
        self.write().insert(name, value);
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<T>> {
        self.write().remove(name)
    }

    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.read().values().cloned().collect()
    }

    /// Sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.read().keys().map(|name| name.to_string()).collect();
        names.sort_unstable();
        names
    }

    fn read(&self) -> RwLockReadGuard<'_, FxHashMap<Arc<str>, Arc<T>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, FxHashMap<Arc<str>, Arc<T>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

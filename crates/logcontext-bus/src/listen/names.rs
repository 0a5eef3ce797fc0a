//! The listeners that a bus has; and what else has names of its own there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashSet;

/// The listeners that a bus has: each name once for each event.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerNames(Arc<Mutex<FxHashSet<Name>>>);

/// The event, and the listener.
type Name = (&'static str, Arc<str>);

/// A listener's name, taken until this is dropped.
#[derive(Debug)]
pub(crate) struct TakenName {
    names: ListenerNames,
    name: Name,
}

impl ListenerNames {
    /// `None` if it is taken.
    pub(crate) fn take(&self, event: &'static str, listener: &Arc<str>) -> Option<TakenName> {
        let name = (event, Arc::clone(listener));
        let is_new = self.lock().insert(name.clone());
        is_new.then(|| TakenName { names: self.clone(), name })
    }

    fn lock(&self) -> MutexGuard<'_, FxHashSet<Name>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TakenName {
    fn drop(&mut self) {
        self.names.lock().remove(&self.name);
    }
}

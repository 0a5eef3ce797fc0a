//! Who is told of what has gone.

use std::collections::VecDeque;

use logcontext::catch_panic;

use crate::sync::{Mutex, lock};

/// Why an entry has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvictionCause {
    /// The cache was full.
    Capacity,
    /// Its time was over.
    Expired,
    /// It was removed.
    Removed,
    /// Another value came for its key.
    Replaced,
}

impl EvictionCause {
    pub(super) const ALL: [Self; 4] = [Self::Capacity, Self::Expired, Self::Removed, Self::Replaced];

    /// A stable name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Expired => "expired",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
        }
    }
}

pub(super) type Listener<K, V> = Box<dyn Fn(K, V, EvictionCause) + Send + Sync>;

/// The listener, and what it has not been told yet.
pub(super) struct Told<K, V> {
    listener: Listener<K, V>,
    untold: Mutex<VecDeque<(K, V, EvictionCause)>>,
}

impl<K, V> Told<K, V> {
    pub(super) fn new(listener: Listener<K, V>) -> Self {
        Self { listener, untold: Mutex::new(VecDeque::new()) }
    }

    pub(super) fn add(&self, key: K, value: V, cause: EvictionCause) {
        lock(&self.untold).push_back((key, value, cause));
    }

    pub(super) fn is_done(&self) -> bool {
        lock(&self.untold).is_empty()
    }

    /// Tells at most so much of it, in the current context, and whether there was that much. A panic is reported, and
    /// the next one is told.
    pub(super) fn tell(&self, most: usize) -> bool {
        for _ in 0..most {
            let Some((key, value, cause)) = lock(&self.untold).pop_front() else { return false };
            if let Err(mut panic) = catch_panic(|| (self.listener)(key, value, cause)) {
                panic.report();
            }
        }
        true
    }
}

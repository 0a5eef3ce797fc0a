//! What a cache keeps for a key, and what a lookup has found.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::error::LookupError;

/// The answer for a key.
pub(super) enum Answer<V, E> {
    Found(Arc<V>),
    Absent,
    /// Kept only where that was asked for.
    Failed(Arc<E>),
}

pub(super) struct Entry<V, E> {
    pub(super) answer: Answer<V, E>,
    /// By the cache's clock.
    pub(super) expires: u64,
}

/// What a lookup has found, for all who waited.
pub(super) enum Outcome<K, V, E> {
    One(Arc<V>),
    Many(HashMap<K, Arc<V>>),
    Nothing(LookupError<E>),
}

impl<V, E> Clone for Answer<V, E> {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::Found(value) => Self::Found(Arc::clone(value)),
            Self::Absent => Self::Absent,
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
        }
    }
}

impl<V, E> Clone for Entry<V, E> {
    #[inline]
    fn clone(&self) -> Self {
        Self { answer: self.answer.clone(), expires: self.expires }
    }
}

impl<V, E> Answer<V, E> {
    pub(super) fn into_result(self) -> Result<Option<Arc<V>>, LookupError<E>> {
        match self {
            Self::Found(value) => Ok(Some(value)),
            Self::Absent => Ok(None),
            Self::Failed(error) => Err(LookupError::Failed(error)),
        }
    }
}

impl<K: Eq + Hash, V, E> Outcome<K, V, E> {
    /// What was found for this key, `None` if there is none.
    pub(super) fn of(&self, key: &K) -> Result<Option<Arc<V>>, LookupError<E>> {
        match self {
            Self::One(value) => Ok(Some(Arc::clone(value))),
            Self::Many(values) => Ok(values.get(key).cloned()),
            Self::Nothing(error) => Err(error.clone()),
        }
    }

    /// What is to be kept of it, and for how long that is to be, if it is kept at all.
    pub(super) fn answer(&self, key: &K) -> Option<Answer<V, E>> {
        match self.of(key) {
            Ok(Some(value)) => Some(Answer::Found(value)),
            Ok(None) => Some(Answer::Absent),
            Err(LookupError::Failed(error)) => Some(Answer::Failed(error)),
            Err(_) => None,
        }
    }
}

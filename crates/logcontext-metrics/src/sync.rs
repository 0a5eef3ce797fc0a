//! Locks that a panic elsewhere does not take out of service.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What we keep behind a lock is whole between any two statements, so a poisoned lock is just a lock.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The locks of the queues. The tests of interleavings put loom's in their place.

use std::sync::PoisonError;
pub(super) use std::sync::atomic::AtomicBool;
pub(super) use std::sync::{Mutex, MutexGuard};

/// What is behind our locks is whole between any two statements that can panic, so a poisoned lock is just a lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

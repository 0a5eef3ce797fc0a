//! Locks and flags of which the order matters. The tests of interleavings put loom's in their place.

pub(crate) use std::sync::atomic::AtomicBool;
pub(crate) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// What is behind our locks is whole between any two statements, so a poisoned lock is just a lock.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Locks that a panic elsewhere does not take out of service.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// Everything we keep behind a lock is whole between any two statements, so a poisoned lock is just a lock.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A lock for two sorts of users: those who are part of a request, and a reader who takes it again and again, piece
/// by piece. A plain lock would let that reader in again before it wakes those who wait.
#[derive(Debug, Default)]
pub(crate) struct Stepwise<T> {
    /// So many wait who are in a hurry. Only a hint: it is the lock that keeps them apart.
    waiting: AtomicU32,
    value: Mutex<T>,
}

impl<T> Stepwise<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { waiting: AtomicU32::new(0), value: Mutex::new(value) }
    }

    /// For those who are in a hurry.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self.value.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, T> {
        self.waiting.fetch_add(1, Relaxed);
        let guard = lock(&self.value);
        self.waiting.fetch_sub(1, Relaxed);
        guard
    }

    /// For the next piece: whoever waits by now goes first. Where they never end, it takes its turn all the same.
    pub(crate) fn lock_next(&self) -> MutexGuard<'_, T> {
        for round in 0..200 {
            if self.waiting.load(Relaxed) == 0 {
                break;
            }
            // They are being woken, which takes some microseconds; unless the processor has others to run first.
            if round < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        lock(&self.value)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

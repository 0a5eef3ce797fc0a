//! What the tests of interleavings share: loom's locks in place of the system's, and a waiter as loom sees it.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::thread;

pub(crate) use loom::sync::atomic::AtomicBool;
pub(crate) use loom::sync::{Mutex, MutexGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Wakes the thread that has asked for it from `thread::park`. If nobody does, loom finds a deadlock.
pub(crate) fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// In every order in which threads can run, within reason.
pub(crate) fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

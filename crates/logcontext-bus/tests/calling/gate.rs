//! Handlers that wait until the test lets them go on.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use tokio::sync::{Semaphore, mpsc};

/// A gate that handlers wait at, async ones and those that block.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    open: Semaphore,
    is_open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
    most: AtomicUsize,
    passed: AtomicUsize,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            open: Semaphore::new(0),
            is_open: Mutex::new(false),
            opened: Condvar::new(),
            waiting: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn open(&self) {
        *self.0.is_open.lock().unwrap() = true;
        self.0.opened.notify_all();
        self.0.open.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Lets so many async ones through.
    pub(crate) fn let_in(&self, count: usize) {
        self.0.open.add_permits(count);
    }

    pub(crate) async fn pass(&self) {
        let waits = self.wait();
        self.0.open.acquire().await.unwrap().forget();
        drop(waits);
        self.0.passed.fetch_add(1, SeqCst);
    }

    pub(crate) fn pass_blocking(&self) {
        let waits = self.wait();
        let is_open = self.0.is_open.lock().unwrap();
        drop(self.0.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
        drop(waits);
        self.0.passed.fetch_add(1, SeqCst);
    }

    /// So many wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(SeqCst)
    }

    /// So many have waited at once.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }

    pub(crate) fn passed(&self) -> usize {
        self.0.passed.load(SeqCst)
    }

    fn wait(&self) -> Waits<'_> {
        let now = self.0.waiting.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(now, SeqCst);
        Waits(&self.0)
    }
}

struct Waits<'a>(&'a Inner);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

/// Tells the name of the context that it is dropped in.
pub(crate) struct TellsDrop(pub(crate) mpsc::UnboundedSender<String>);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        let _ = self.0.send(logcontext::current_context().name().to_owned());
    }
}

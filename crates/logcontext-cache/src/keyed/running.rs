//! Whether somebody watches those who wait: never nobody while there is somebody to watch.

use std::sync::atomic::Ordering::SeqCst;

use crate::sync::AtomicBool;

#[derive(Debug)]
pub(super) struct Running(AtomicBool);

impl Running {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// From now on somebody watches. Answers whether that is new, and the caller's business.
    pub(super) fn begin(&self) -> bool {
        !self.0.swap(true, SeqCst)
    }

    pub(super) fn end(&self) {
        self.0.store(false, SeqCst);
    }

    /// Whoever watches looks who waits. When nobody does they do not watch any more, unless somebody has come meanwhile
    /// and found them watching still.
    pub(super) fn look<T>(&self, mut find: impl FnMut() -> Option<T>) -> Option<T> {
        let found = find();
        if found.is_some() {
            return found;
        }
        self.end();
        let found = find()?;
        self.begin().then_some(found)
    }
}

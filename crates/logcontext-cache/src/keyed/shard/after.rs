//! What cannot be done under the lock.

use std::task::Waker;

use logcontext::LogContext;

use super::Excess;

/// What is to be done once the lock is free.
pub(crate) struct After<K> {
    pub(super) context: LogContext,
    pub(super) waker: Option<Waker>,
    wake: Option<Waker>,
    more: Wakers,
    pub(super) key: Option<K>,
    pub(super) excess: Option<Box<Excess<K>>>,
}

impl<K> After<K> {
    #[inline]
    pub(crate) const fn new() -> Self {
        let context = LogContext::sentinel();
        Self { key: None, context, waker: None, wake: None, more: Wakers(Vec::new()), excess: None }
    }

    pub(super) fn wake(&mut self, waker: Waker) {
        match self.wake {
            None => self.wake = Some(waker),
            Some(_) => self.more.0.push(waker),
        }
    }

    /// Wakes whose turn it is, first come first, and drops what is to be dropped.
    #[inline]
    pub(crate) fn finish(mut self) {
        if let Some(first) = self.wake.take() {
            first.wake();
        }
    }
}

/// Are woken when this is dropped: also if waking somebody else has panicked.
struct Wakers(Vec<Waker>);

impl Drop for Wakers {
    #[inline]
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

//! [`Receipt`]: what tells an event's handler that one of its destinations has been seen to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// One destination's part of an event. Dropped without [`done`](Self::done), it says that nobody sees to it here any more.
#[derive(Debug)]
pub(super) struct Receipt {
    shared: Arc<Shared>,
    is_done: bool,
}

/// All of an event.
#[derive(Debug)]
pub(super) struct Receipts(Arc<Shared>);

/// Nobody here sees to all of the event any more: it is left for whoever has the shard next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abandoned;

#[derive(Debug)]
struct Shared {
    /// One more while receipts are given out.
    left: AtomicUsize,
    is_abandoned: AtomicBool,
    settled: Notify,
}

impl Receipts {
    pub(super) fn new() -> Self {
        let (left, is_abandoned) = (AtomicUsize::new(1), AtomicBool::new(false));
        Self(Arc::new(Shared { left, is_abandoned, settled: Notify::new() }))
    }

    /// For one more destination.
    pub(super) fn give(&self) -> Receipt {
        self.0.left.fetch_add(1, Ordering::Relaxed);
        Receipt { shared: Arc::clone(&self.0), is_done: false }
    }

    /// Waits until all that were given are done, or dropped.
    pub(super) async fn settled(self) -> Result<(), Abandoned> {
        self.0.count_down();
        while self.0.left.load(Ordering::Acquire) > 0 {
            self.0.settled.notified().await;
        }
        if self.0.is_abandoned.load(Ordering::Relaxed) { Err(Abandoned) } else { Ok(()) }
    }
}

impl Shared {
    fn count_down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }
}

impl Receipt {
    /// It has the state, or one that is newer, or it is written down that it has to catch up with it.
    pub(super) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.is_abandoned.store(true, Ordering::Relaxed);
        }
        self.shared.count_down();
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shard is another process's, or this one ends")
    }
}

impl std::error::Error for Abandoned {}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_event_is_settled_once_all_its_destinations_are() {
        let receipts = Receipts::new();
        let (one, two) = (receipts.give(), receipts.give());
        let mut settled = Box::pin(receipts.settled());
        assert_eq!((&mut settled).now_or_never(), None);
        one.done();
        assert_eq!((&mut settled).now_or_never(), None);
        two.done();
        assert_eq!(settled.await, Ok(()));
        assert_eq!(Receipts::new().settled().await, Ok(()), "nobody follows");
    }

    #[tokio::test]
    async fn a_destination_that_is_dropped_abandons_the_event() {
        let receipts = Receipts::new();
        let (one, two) = (receipts.give(), receipts.give());
        drop(one);
        two.done();
        assert_eq!(receipts.settled().await, Err(Abandoned));
    }
}

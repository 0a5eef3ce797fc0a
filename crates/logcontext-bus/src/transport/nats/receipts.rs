//! Was there somebody to hear an answer?
//!
//! The broker says so only if there was nobody, at once. So a message to oneself goes along behind each answer: whichever of
//! the two comes back first decides.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

/// Answers that were sent.
#[derive(Default)]
pub(super) struct Receipts {
    next: AtomicU64,
    waiting: Mutex<FxHashMap<u64, oneshot::Sender<bool>>>,
}

/// One of them.
pub(super) struct Receipt<'a> {
    pub(super) number: u64,
    came: oneshot::Receiver<bool>,
    all: &'a Receipts,
}

impl Receipts {
    pub(super) fn begin(&self) -> Receipt<'_> {
        let number = self.next.fetch_add(1, Relaxed);
        let (sender, came) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        Receipt { number, came, all: self }
    }

    pub(super) fn came(&self, number: u64, was_heard: bool) {
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        // Whoever has gone meanwhile need not know.
        let _ = sender.map(|sender| sender.send(was_heard));
    }

    /// The connection is lost: nobody knows.
    pub(super) fn lost(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Receipt<'_> {
    /// `None` if nobody knows.
    pub(super) async fn was_heard(mut self) -> Option<bool> {
        (&mut self.came).await.ok()
    }
}

impl Drop for Receipt<'_> {
    fn drop(&mut self) {
        self.all.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

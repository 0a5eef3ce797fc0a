//! Where a transport says what became of calls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::{Message, ReplyTo};

/// Where a transport says what became of the calls of its bus, and which of those that it handles nobody waits for any
/// more. All of it is done at once, whoever asks.
#[derive(Default)]
pub struct Inbox {
    pending: Mutex<FxHashMap<u64, oneshot::Sender<Became>>>,
    handled: Mutex<FxHashMap<ReplyTo, Box<dyn FnOnce() + Send>>>,
}

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Became {
    Answered(Message),
    Unserved,
    Lost(Arc<str>),
}

impl Inbox {
    /// The answer to a call of this bus. One that nobody waits for is dropped: answers whether somebody did.
    pub fn reply(&self, call: u64, message: Message) -> bool {
        self.tell(call, Became::Answered(message))
    }

    /// Nobody serves it, and nobody will.
    pub fn unserved(&self, call: u64) -> bool {
        self.tell(call, Became::Unserved)
    }

    /// The connection that its answer would have come by is lost.
    pub fn lost(&self, call: u64, why: Arc<str>) -> bool {
        self.tell(call, Became::Lost(why))
    }

    /// The same for all calls that wait. Answers how many did.
    pub fn lost_all(&self, why: &Arc<str>) -> usize {
        let pending = std::mem::take(&mut *self.lock_pending());
        let count = pending.len();
        for (_, caller) in pending {
            let _ = caller.send(Became::Lost(Arc::clone(why)));
        }
        count
    }

    /// Nobody waits any more for a call that is handled here. Answers whether it was.
    pub fn cancelled(&self, from: &ReplyTo) -> bool {
        let cancel = self.lock_handled().remove(from);
        cancel.map(|cancel| cancel()).is_some()
    }

    /// Waits for what becomes of a call of this bus.
    pub(crate) fn expect(&self, call: u64) -> oneshot::Receiver<Became> {
        let (sender, became) = oneshot::channel();
        self.lock_pending().insert(call, sender);
        became
    }

    /// This is called if nobody waits any more for a call that is handled here.
    pub(crate) fn handling(&self, from: ReplyTo, cancel: impl FnOnce() + Send + 'static) {
        self.lock_handled().insert(from, Box::new(cancel));
    }

    /// It is handled no more.
    pub(crate) fn handled(&self, from: &ReplyTo) {
        self.lock_handled().remove(from);
    }

    fn tell(&self, call: u64, became: Became) -> bool {
        let caller = self.lock_pending().remove(&call);
        caller.is_some_and(|caller| caller.send(became).is_ok())
    }

    fn lock_pending(&self) -> std::sync::MutexGuard<'_, FxHashMap<u64, oneshot::Sender<Became>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_handled(&self) -> std::sync::MutexGuard<'_, FxHashMap<ReplyTo, Box<dyn FnOnce() + Send>>> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("pending", &self.lock_pending().len()).finish_non_exhaustive()
    }
}

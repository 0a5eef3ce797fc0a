//! Where a transport says what became of calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::{Message, ReplyTo};
use crate::waits::{Kind, Told, Waits};
use handled::Handled;

mod handled;

/// Where a transport says what became of the calls of its bus, and which of those that it handles nobody waits for any
/// more. All of it is done at once, whoever asks.
#[derive(Default)]
pub struct Inbox {
    waits: Waits,
    handled: Handled,
    is_closed: AtomicBool,
}

impl Inbox {
    /// The answer to a call of this bus. One that nobody waits for is dropped: answers whether somebody did.
    pub fn reply(&self, call: u64, message: Message) -> bool {
        self.waits.tell(call, Kind::Call, Told::Answer(message))
    }

    /// Nobody serves it, and nobody will.
    pub fn unserved(&self, call: u64) -> bool {
        self.waits.tell(call, Kind::Call, Told::Unserved)
    }

    /// The connection that its answer would have come by is lost.
    pub fn lost(&self, call: u64, why: Arc<str>) -> bool {
        self.waits.tell(call, Kind::Call, Told::Lost(why))
    }

    /// The same for all calls that wait. Answers how many did.
    pub fn lost_all(&self, why: &Arc<str>) -> usize {
        self.waits.tell_all(Kind::Call, || Told::Lost(Arc::clone(why)))
    }

    /// Nobody waits any more for a call that is handled here. Answers whether it was known.
    pub fn cancelled(&self, from: &ReplyTo) -> bool {
        let handler = self.handled.cancelled(from);
        handler.is_some_and(|wait| self.waits.tell(wait, Kind::Handler, Told::Cancelled))
    }

    /// So many calls of this bus wait for their answers.
    pub fn waiting(&self) -> usize {
        self.waits.count(Kind::Call)
    }

    /// So many handlers are looked after here, of those that were not ready at once.
    pub fn handling(&self) -> usize {
        self.waits.count(Kind::Handler).max(self.handled.count())
    }

    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }

    pub(crate) fn handled(&self) -> &Handled {
        &self.handled
    }

    /// No call is answered any more, and none waits.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.waits.tell_all(Kind::Call, || Told::Closed);
    }

    /// Whoever begins to wait asks this afterwards.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("waiting", &self.waiting())
            .field("handling", &self.handling())
            .finish_non_exhaustive()
    }
}

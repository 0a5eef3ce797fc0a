//! Who calls, and gets the answers.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::transport::{Inbox, ReplyTo};

pub(super) struct Client {
    pub(super) identity: Arc<str>,
    pub(super) inbox: Arc<Inbox>,
    /// So many of its calls may wait for a server to have a slot, of each RPC.
    pub(super) queue: usize,
    /// So many do, and so many more for a place to wait.
    pub(super) waiting: AtomicUsize,
}

impl Client {
    pub(super) fn reply_to(&self, call: u64) -> ReplyTo {
        ReplyTo { client: Arc::clone(&self.identity), call }
    }
}

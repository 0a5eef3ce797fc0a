//! Calls that the broker has, and that have no answer yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::failure::Failure;
use super::wire::Wire;
use crate::transport::{Inbox, Lane};

/// Calls that the broker has, and that have no answer yet.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<FxHashMap<u64, (&'static str, Lane)>>);

impl UnderWay {
    /// It is about to be sent by this connection.
    ///
    /// # Errors
    /// If that one is lost: whoever says so to the others does not know of it.
    pub(super) fn begin(&self, call: u64, rpc: &'static str, lane: Lane, wire: &Wire) -> Result<(), Failure> {
        let mut calls = self.lock();
        if wire.is_gone() {
            return Err(Failure::gone());
        }
        calls.insert(call, (rpc, lane));
        Ok(())
    }

    /// Where it is, if it is.
    pub(super) fn get(&self, call: u64) -> Option<(&'static str, Lane)> {
        self.lock().get(&call).copied()
    }

    /// It is over. Where it was, if it was.
    pub(super) fn end(&self, call: u64) -> Option<(&'static str, Lane)> {
        self.lock().remove(&call)
    }

    /// The connection is lost, and is known to be: none of them will be answered.
    pub(super) fn lost(&self, inbox: &Inbox, why: &Arc<str>) {
        let calls = std::mem::take(&mut *self.lock());
        for call in calls.into_keys() {
            inbox.lost(call, Arc::clone(why));
        }
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<u64, (&'static str, Lane)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Which calls are handled here, for those who cancel them.

use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::transport::ReplyTo;

/// So many cancellations are remembered, twice, of calls that are not known yet.
const REMEMBERED: usize = 2048;

/// Which calls are handled here. Only those are known whose handlers were not ready at once: so a call that is cancelled
/// may be one that has come and was not begun, and that is remembered. It may also be one that is over: so only the
/// latest are.
#[derive(Default)]
pub(crate) struct Handled {
    has_early: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: FxHashMap<ReplyTo, u64>,
    early: FxHashSet<ReplyTo>,
    older: FxHashSet<ReplyTo>,
}

impl Handled {
    /// Its handler will be told by this wait. Answers whether it was cancelled before.
    pub(crate) fn begin(&self, from: &ReplyTo, wait: u64) -> bool {
        let mut state = self.lock();
        state.known.insert(from.clone(), wait);
        state.was_early(from)
    }

    pub(crate) fn end(&self, from: &ReplyTo) {
        self.lock().known.remove(from);
    }

    /// So many are known.
    pub(crate) fn count(&self) -> usize {
        self.lock().known.len()
    }

    /// Was it cancelled before it was begun?
    pub(crate) fn was_cancelled(&self, from: &ReplyTo) -> bool {
        self.has_early.load(SeqCst) && self.lock().was_early(from)
    }

    /// It is cancelled: how its handler is told, if it has one.
    pub(crate) fn cancelled(&self, from: &ReplyTo) -> Option<u64> {
        let mut state = self.lock();
        let known = state.known.get(from).copied();
        if known.is_none() {
            if state.early.len() >= REMEMBERED {
                state.older = take(&mut state.early);
            }
            state.early.insert(from.clone());
            self.has_early.store(true, SeqCst);
        }
        known
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn was_early(&mut self, from: &ReplyTo) -> bool {
        self.early.remove(from) || self.older.remove(from)
    }
}

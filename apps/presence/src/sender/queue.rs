//! [`Queue`]: what one hub is to be told, of each user the newest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::outgoing::Outgoing;
use super::receipt::Receipt;
use crate::federation::MAX_STATES;
use crate::user::UserId;

/// What one hub is to be told: of each user the newest state, those that have waited longest first; and the transaction
/// that is under way, of which there is one at a time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<UserId, Entry>,
    /// Each of `waiting`, once; and some that wait no more.
    order: VecDeque<UserId>,
    under_way: HashMap<UserId, Entry>,
}

/// A state, and whose events are done with it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) state: Arc<Outgoing>,
    receipts: Vec<Receipt>,
}

impl Queue {
    /// Takes a state. One that is older than what waits, or is under way, is done when that is; one that is newer takes its
    /// place.
    pub(super) fn push(&mut self, state: Arc<Outgoing>, receipt: Receipt) {
        if let Some(entry) = self.waiting.get_mut(&state.user) {
            if entry.state.revision < state.revision {
                entry.state = state;
                entry.receipts.drain(..).for_each(Receipt::done);
            } else if entry.state.revision > state.revision {
                // The newer one has an event of its own, which waits.
                return receipt.done();
            }
            return entry.receipts.push(receipt);
        }
        if let Some(entry) = self.under_way.get_mut(&state.user)
            && entry.state.revision >= state.revision
        {
            return entry.receipts.push(receipt);
        }
        self.order.push_back(state.user.clone());
        self.waiting.insert(state.user.clone(), Entry { state, receipts: vec![receipt] });
    }

    /// The states of the next transaction, which is under way from now on; `None` if nothing waits.
    pub(super) fn begin(&mut self) -> Option<Vec<Arc<Outgoing>>> {
        debug_assert!(self.under_way.is_empty(), "one transaction at a time");
        let mut states = Vec::new();
        while states.len() < MAX_STATES {
            let Some(user) = self.order.pop_front() else { break };
            if let Some(entry) = self.waiting.remove(&user) {
                states.push(Arc::clone(&entry.state));
                self.under_way.insert(user, entry);
            }
        }
        (!states.is_empty()).then_some(states)
    }

    /// The hub has what was under way.
    pub(super) fn delivered(&mut self) {
        done(self.under_way.drain().map(|(_, entry)| entry));
    }

    /// The hub does not have what was under way: it waits again, unless something newer does.
    pub(super) fn failed(&mut self) {
        for (user, entry) in std::mem::take(&mut self.under_way) {
            if self.waiting.contains_key(&user) {
                done([entry]);
            } else {
                self.order.push_back(user.clone());
                self.waiting.insert(user, entry);
            }
        }
    }

    /// Is done with those that wait and of which this holds: the hub learns of them in another way.
    pub(super) fn settle(&mut self, is_settled: impl Fn(&Outgoing) -> bool) {
        done(self.waiting.extract_if(|_, entry| is_settled(&entry.state)).map(|(_, entry)| entry));
        self.order.retain(|user| self.waiting.contains_key(user));
    }

    /// Those that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Outgoing> {
        self.waiting.values().map(|entry| &*entry.state)
    }

    /// How many states wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Nobody here sees to any of it any more.
    pub(super) fn abandon(&mut self) {
        *self = Self::default();
    }
}

fn done(entries: impl IntoIterator<Item = Entry>) {
    entries.into_iter().flat_map(|entry| entry.receipts).for_each(Receipt::done);
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

//! A part of a ledger: accounts, and the sums of those that were closed.

use std::sync::{Arc, Weak};

use super::account::{Account, AccountRef, CHUNK, Chunk, chunk};
use super::totals::{Rows, Totals, row};
use crate::context::Inner;
use crate::kind::{ContextKind, Ending};

#[derive(Default)]
pub(super) struct Shard {
    pub(super) chunks: Vec<&'static Chunk>,
    pub(super) contexts: Vec<Weak<Inner>>,
    free: Vec<u32>,
    /// By label index; what never got a label comes first, by kind.
    pub(super) rows: Rows<Totals>,
    pub(super) walked: Walked,
}

/// How far the last walk has come here.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Rows of totals that have been read. None once the walk is done here.
    pub(super) rows: usize,
    /// Slots that have been read, after the rows. All once the walk is done here.
    pub(super) slots: usize,
    /// What was closed between the two: after its row was read, and before its slot was.
    pub(super) missed: Rows<Totals>,
}

impl Shard {
    pub(super) fn account(&self, slot: usize) -> &'static Account {
        &self.chunks[slot / CHUNK][slot % CHUNK]
    }

    /// How many accounts are open.
    pub(super) fn live(&self) -> usize {
        self.contexts.len() - self.free.len()
    }

    pub(super) fn open(
        &mut self,
        number: usize,
        id: u64,
        kind: ContextKind,
        label: Option<usize>,
        make: impl FnOnce(AccountRef) -> Arc<Inner>,
    ) -> Arc<Inner> {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slots = self.contexts.len();
            let first = slots as u32;
            self.chunks.push(chunk());
            self.contexts.resize_with(slots + CHUNK, Weak::new);
            self.free.extend((first + 1..first + CHUNK as u32).rev());
            first
        });
        let label = label.map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX));
        let account = self.account(slot as usize);
        account.open(id, kind, label);
        let inner = make(AccountRef { account, index: slot, shard: number as u8 });
        self.contexts[slot as usize] = Arc::downgrade(&inner);
        inner
    }

    /// The account's figures go to the sums. Answers what is to be dropped after the lock.
    pub(super) fn close(&mut self, closed: &AccountRef) -> Weak<Inner> {
        let (account, slot) = (closed.get(), closed.index as usize);
        if let Some(row) = row(account) {
            // Who was not finished ends here: once, so that whoever adds it up finds the same.
            if !account.is_finished() {
                account.finish(Ending::Ok);
            }
            self.rows.at(row).add(account);
            if row < self.walked.rows && slot >= self.walked.slots {
                self.walked.missed.at(row).add(account);
            }
        }
        account.clear();
        self.free.push(closed.index);
        std::mem::take(&mut self.contexts[slot])
    }
}

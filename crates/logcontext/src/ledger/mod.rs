//! What every context of a supervisor has used, those that live and those that are gone, by label.
//!
//! A context's figures are in an [`Account`]. Accounts come in chunks and are used again, so that making a
//! context does not allocate one. The table is in shards, each behind a lock that is taken when a context is
//! made and when it is gone, never at a switch. A shard holds the accounts of its contexts and, by label, the
//! sums of those that are gone. They are read piece by piece, by a [`walk`] that finds each context once.

mod account;
mod elsewhere;
mod label;
mod moves;
mod readings;
mod shard;
#[cfg(test)]
mod tests;
mod totals;
mod walk;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rustc_hash::FxHashMap;

pub(crate) use account::{Account, AccountRef};
pub use label::LabelTotals;
pub(crate) use moves::moving;
use readings::{ByLabel, RootCpu};
use shard::Shard;
use walk::Reading;

use crate::context::Inner;
use crate::kind::ContextKind;
use crate::labels::Labels;
use crate::sync::{Stepwise, lock};

const SHARDS: usize = 8;

/// The accounts of one supervisor.
#[derive(Default)]
pub(crate) struct Ledger {
    shards: [Stepwise<Shard>; SHARDS],
    pub(crate) labels: Labels,
}

impl Ledger {
    /// Opens an account and makes the context that owns it.
    pub(crate) fn open(
        &self,
        id: u64,
        kind: ContextKind,
        label: Option<usize>,
        make: impl FnOnce(AccountRef) -> Arc<Inner>,
    ) -> Arc<Inner> {
        let number = shard_of_this_thread();
        self.shards[number].lock().open(number, id, kind, label, make)
    }

    /// Closes the account of a context that is gone: its figures go to its label's sums.
    pub(crate) fn close(&self, account: &AccountRef) {
        let gone = self.shards[account.shard as usize % SHARDS].lock().close(account);
        drop(gone);
    }

    /// Totals by label, in the order in which the labels came up. `open` are the open slices, by context id.
    pub(crate) fn totals(&self, open: &FxHashMap<u64, i64>) -> Vec<LabelTotals> {
        walk::read(&[self], false, ByLabel::new(open)).totals(&self.labels)
    }

    /// CPU charged to root contexts that are gone: all, when no other is left.
    pub(crate) fn gone_cpu(&self) -> u64 {
        let mut cpu = RootCpu::default();
        for shard in &self.shards {
            shard.lock().rows.iter().for_each(|(row, totals)| cpu.gone(self, row, totals));
        }
        u64::try_from(cpu.0).unwrap_or(0)
    }

    /// How many contexts live.
    pub(crate) fn live(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().live()).sum()
    }

    /// Handles to all contexts that live.
    pub(crate) fn contexts(&self) -> Vec<Arc<Inner>> {
        walk::contexts(self)
    }
}

/// CPU charged to the root contexts of these ledgers, live and gone: of all that there are.
pub(crate) fn root_cpu(all: &[&Ledger]) -> u64 {
    let cpu = walk::read(all, true, RootCpu::default());
    u64::try_from(cpu.0).unwrap_or(0)
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Contexts hold their supervisor, and it holds the ledger: none is left, all accounts are closed.
        let mut chunks = lock(&account::CHUNKS);
        for shard in &mut self.shards {
            chunks.append(&mut shard.get_mut().chunks);
        }
    }
}

thread_local! {
    static SHARD: Cell<usize> = Cell::new(next_shard());
}

fn next_shard() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Relaxed) as usize % SHARDS
}

fn shard_of_this_thread() -> usize {
    SHARD.try_with(Cell::get).unwrap_or(0)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//! Reading a ledger, piece by piece.
//!
//! Each lock is held for some dozens of accounts at most, so nobody who makes or ends a context, or moves times, waits
//! for the whole. Each context is read once all the same. In each shard the rows of totals come first, then the slots
//! of the accounts. Who closes an account meanwhile adds it to its row; where that row has been read and the slot has
//! not, to what the walk has missed as well, which the reader gets at the end of the shard. What moves between accounts
//! is noted: see [`moves`](super::moves).
//!
//! Readers take turns, all of the process: times may move from any ledger to any other.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::account::{Account, CHUNK, Chunk};
use super::moves::{self, Moved, Progress};
use super::totals::Totals;
use super::{Ledger, SHARDS};
use crate::context::Inner;
use crate::sync::lock;

/// So many accounts are read at a time: a chunk, some microseconds at worst.
const SLOTS: usize = CHUNK;
/// Rows are larger, and lie apart.
const ROWS: usize = 16;

static TURN: Mutex<()> = Mutex::new(());

/// What somebody reads a ledger for.
pub(super) trait Reading {
    /// The sums of contexts that are gone. A row may come more than once.
    fn gone(&mut self, ledger: &Ledger, row: usize, totals: &Totals);

    /// A context that lives.
    fn live(&mut self, account: &Account, context: &Weak<Inner>);

    /// What moved from contexts to others, as far as the walk did not see it there.
    fn moved(&mut self, moved: &Moved);
}

/// Reads all these ledgers.
pub(super) fn read<R: Reading>(ledgers: &[&Ledger], of_all: bool, reading: R) -> R {
    let mut walk = Walk::begin(ledgers, of_all, reading);
    while walk.next() {}
    walk.end()
}

/// A walk through ledgers.
pub(super) struct Walk<'a, R> {
    ledgers: &'a [&'a Ledger],
    ledger: usize,
    shard: usize,
    stage: Stage,
    reading: Option<R>,
    _turn: MutexGuard<'static, ()>,
}

enum Stage {
    /// From this row on.
    Rows(usize),
    /// From this slot on, which is in this chunk if there is one.
    Slots(usize, Option<&'static Chunk>),
}

impl<'a, R: Reading> Walk<'a, R> {
    pub(super) fn begin(ledgers: &'a [&'a Ledger], of_all: bool, reading: R) -> Self {
        let turn = lock(&TURN);
        *moves::walk() = Some(Progress::new(ledgers, of_all));
        Self { ledgers, ledger: 0, shard: 0, stage: Stage::Rows(0), reading: Some(reading), _turn: turn }
    }

    /// Reads a piece; false at the end.
    pub(super) fn next(&mut self) -> bool {
        self.step(ROWS, SLOTS)
    }

    #[cfg(test)]
    pub(super) fn reading(&self) -> &R {
        self.reading.as_ref().expect("taken by the end alone")
    }

    /// The shard, and the next slot of it.
    #[cfg(test)]
    pub(super) fn place(&self) -> (usize, usize) {
        match self.stage {
            Stage::Slots(slot, _) => (self.shard, slot),
            Stage::Rows(_) => (self.shard, 0),
        }
    }

    /// Reads at most so many rows or slots; false at the end.
    pub(super) fn step(&mut self, rows: usize, slots: usize) -> bool {
        let (Some(ledger), Some(reading)) = (self.ledgers.get(self.ledger), &mut self.reading) else {
            return false;
        };
        match self.stage {
            Stage::Rows(from) => {
                let mut shard = ledger.shards[self.shard].lock_next();
                if from == 0 {
                    shard.walked.slots = 0;
                }
                let to = (from + rows).min(shard.rows.len());
                for (row, totals) in shard.rows.range(from..to) {
                    reading.gone(ledger, row, totals);
                }
                if to < shard.rows.len() {
                    shard.walked.rows = to;
                    self.stage = Stage::Rows(to);
                } else {
                    // Whatever row comes up from now on counts as read.
                    shard.walked.rows = usize::MAX;
                    self.stage = Stage::Slots(0, shard.chunks.first().copied());
                }
            }
            Stage::Slots(from, chunk) => {
                // Out of the memory, before anybody has to wait for it.
                std::hint::black_box(chunk.map_or(0, |chunk| chunk.iter().map(Account::touch).sum::<u64>()));
                let mut progress = moves::walk();
                let mut shard = ledger.shards[self.shard].lock_next();
                let to = (from + slots).min(shard.contexts.len());
                for slot in from..to {
                    let account = shard.account(slot);
                    if account.id() != 0 {
                        reading.live(account, &shard.contexts[slot]);
                    }
                }
                let is_done = to == shard.contexts.len();
                if is_done {
                    shard.walked.rows = 0;
                    shard.walked.slots = usize::MAX;
                    self.stage = Stage::Rows(0);
                    self.shard += 1;
                    if self.shard == SHARDS {
                        (self.ledger, self.shard) = (self.ledger + 1, 0);
                    }
                } else {
                    shard.walked.slots = to;
                    self.stage = Stage::Slots(to, shard.chunks.get(to / CHUNK).copied());
                }
                if let Some(progress) = &mut *progress {
                    progress.next = (self.ledger, self.shard, if is_done { 0 } else { to });
                }
                let missed = is_done.then(|| std::mem::take(&mut shard.walked.missed));
                drop((shard, progress));
                for (row, totals) in missed.iter().flat_map(|missed| missed.iter()) {
                    reading.gone(ledger, row, totals);
                }
            }
        }
        self.ledger < self.ledgers.len()
    }

    /// What was read, after the last step.
    pub(super) fn end(mut self) -> R {
        let progress = moves::walk().take();
        let mut reading = self.reading.take().expect("taken by the end alone");
        if let Some(progress) = progress {
            reading.moved(&progress.moved);
        }
        reading
    }
}

/// Also in the middle, by a panic.
impl<R> Drop for Walk<'_, R> {
    fn drop(&mut self) {
        moves::walk().take();
        if let Some(ledger) = self.ledgers.get(self.ledger) {
            let mut shard = ledger.shards[self.shard].lock_next();
            shard.walked.rows = 0;
            shard.walked.slots = usize::MAX;
            let missed = std::mem::take(&mut shard.walked.missed);
            drop(shard);
            drop(missed);
        }
    }
}

/// Handles to all contexts that live.
pub(super) fn contexts(ledger: &Ledger) -> Vec<Arc<Inner>> {
    let mut all = Vec::new();
    for shard in &ledger.shards {
        let mut from = 0;
        loop {
            all.reserve(SLOTS);
            let shard = shard.lock_next();
            let to = (from + SLOTS).min(shard.contexts.len());
            all.extend(shard.contexts[from..to].iter().filter_map(Weak::upgrade));
            if to == shard.contexts.len() {
                break;
            }
            from = to;
            // A context whose last handle is one of ours goes when `all` does, after the lock.
        }
    }
    all
}

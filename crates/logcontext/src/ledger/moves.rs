//! Times that go from one context to others, and what a reader has to be told of them.
//!
//! A reader walks from account to account, so a move may happen between two that it concerns: then the times would be
//! read twice, or not at all. Moves and the pieces of a walk exclude each other. So whoever moves times knows which
//! of the accounts the walk has behind it, and notes for those what the walk did not see.

use std::sync::MutexGuard;

use rustc_hash::FxHashMap;

use super::Ledger;
use super::account::AccountRef;
use super::elsewhere;
use super::totals::row;
use crate::sync::Stepwise;

/// Times that go from one account to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// CPU, the system time in it, in transactions, waiting for a connection, getting one.
    pub(super) own: [u64; 5],
    /// What was caused elsewhere.
    pub(super) remote: [u64; elsewhere::TIMES],
}

impl Times {
    /// One of so many equal parts; the first takes what is odd.
    pub(crate) fn share(&self, index: usize, parts: usize) -> Self {
        let parts = parts as u64;
        let share = |time| time / parts + if index == 0 { time % parts } else { 0 };
        Self { own: self.own.map(share), remote: self.remote.map(share) }
    }

    fn add(&mut self, other: &Self) {
        for (sum, time) in self.own.iter_mut().zip(other.own) {
            *sum += time;
        }
        for (sum, time) in self.remote.iter_mut().zip(other.remote) {
            *sum = sum.saturating_add(time);
        }
    }

    pub(super) fn cpu(&self) -> u64 {
        self.own[0]
    }
}

/// The walk that is under way, if one is. Held for each of its pieces, and for each move.
static WALK: Stepwise<Option<Progress>> = Stepwise::new(None);

pub(super) fn walk() -> MutexGuard<'static, Option<Progress>> {
    WALK.lock_next()
}

/// Whoever moves times holds this meanwhile.
pub(crate) struct Moving(MutexGuard<'static, Option<Progress>>);

pub(crate) fn moving() -> Moving {
    Moving(WALK.lock())
}

impl Moving {
    /// Takes the times off an account that has no label.
    pub(crate) fn take(&mut self, ledger: &Ledger, from: &AccountRef) -> Times {
        let times = from.get().take_times();
        if let Some(progress) = &mut *self.0 {
            progress.note_taken(ledger, from, &times);
        }
        times
    }

    pub(crate) fn give(&mut self, ledger: &Ledger, to: &AccountRef, times: &Times) {
        to.get().add_times(times);
        if let Some(progress) = &mut *self.0 {
            progress.note_given(ledger, to, times);
        }
    }
}

/// How far a walk has come, and what moved behind it.
pub(super) struct Progress {
    /// It reads all there are: what it does not know of came up meanwhile.
    of_all: bool,
    /// The addresses of the ledgers that it reads, in order.
    ledgers: Vec<usize>,
    /// What it reads next: the place of a ledger among them, a shard, a slot.
    pub(super) next: (usize, usize, usize),
    pub(super) moved: Moved,
}

/// What moved to and from accounts that a walk has behind it.
///
/// Some of those it did not find, as they were opened behind it. They are taken for read: what they give they were
/// charged during the walk, or were given, which was noted. So a walk may leave out what was charged while it was on
/// its way, as always; what was there before is found once.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// By row: what was given and what was taken.
    pub(super) rows: FxHashMap<usize, (Times, Times)>,
    /// CPU that root contexts were given, less what they gave.
    pub(super) root_cpu: i64,
}

fn address(ledger: &Ledger) -> usize {
    std::ptr::from_ref(ledger).addr()
}

impl Progress {
    pub(super) fn new(ledgers: &[&Ledger], of_all: bool) -> Self {
        let ledgers = ledgers.iter().map(|ledger| address(ledger)).collect();
        Self { of_all, ledgers, next: (0, 0, 0), moved: Moved::default() }
    }

    /// Will the walk not come there any more, though it is to be counted?
    fn is_behind(&self, ledger: &Ledger, account: &AccountRef) -> bool {
        match self.ledgers.iter().position(|known| *known == address(ledger)) {
            Some(at) => (at, account.shard as usize, account.index as usize) < self.next,
            None => self.of_all,
        }
    }

    fn note_taken(&mut self, ledger: &Ledger, from: &AccountRef, times: &Times) {
        if !self.is_behind(ledger, from) {
            return;
        }
        self.moved.root_cpu -= times.cpu().cast_signed();
        if let Some(row) = row(from.get()) {
            self.moved.rows.entry(row).or_default().1.add(times);
        }
    }

    fn note_given(&mut self, ledger: &Ledger, to: &AccountRef, times: &Times) {
        if !self.is_behind(ledger, to) {
            return;
        }
        if !to.get().kind().is_nested() {
            self.moved.root_cpu += times.cpu().cast_signed();
        }
        if let Some(row) = row(to.get()) {
            self.moved.rows.entry(row).or_default().0.add(times);
        }
    }
}

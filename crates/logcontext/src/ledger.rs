//! What every context of a supervisor has used, those that live and those that are gone, by label.
//!
//! A context's figures are in an [`Account`]. Accounts come in chunks and are used again, so that making a
//! context does not allocate one. The table is in shards, each behind a lock that is taken when a context is
//! made and when it is gone, never at a switch. A shard holds the accounts of its contexts and, by label, the
//! sums of those that are gone: read under one lock, no context is in both or in neither.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use crate::clock;
use crate::context::Inner;
use crate::kind::{ContextKind, Ending};
use crate::labels::Labels;
use crate::sync::lock;
use crate::usage::{COUNTERS, Counter, ResourceUsage};

const SHARDS: usize = 8;
const CHUNK: usize = 32;

const FINISHED: u32 = 1;
const REPORTED: u32 = 2;
const ENDING_SHIFT: u32 = 8;

/// A context's figures, in two cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Account {
    cpu: AtomicU64,
    system: AtomicU64,
    db_txn_count: AtomicU64,
    db_txn_nanos: AtomicU64,
    db_wait_nanos: AtomicU64,
    db_acquire_nanos: AtomicU64,
    state: AtomicU32,
    /// Index of the label, plus 1; 0 while there is none.
    label: AtomicU32,
    id: AtomicU64,
    kind: AtomicU32,
    started: AtomicU64,
    finished: AtomicU64,
    cpu_at_finish: AtomicU64,
    counters: OnceLock<Box<[AtomicU64; COUNTERS]>>,
}

impl Account {
    #[inline]
    pub(crate) fn charge_cpu(&self, nanos: u64, system: u64) {
        self.cpu.fetch_add(nanos, Relaxed);
        if system > 0 {
            self.system.fetch_add(system, Relaxed);
        }
    }

    pub(crate) fn record_db_wait(&self, wait: Duration) {
        self.db_wait_nanos.fetch_add(nanos(wait), Relaxed);
    }

    pub(crate) fn record_db_acquire(&self, took: Duration) {
        self.db_acquire_nanos.fetch_add(nanos(took), Relaxed);
    }

    pub(crate) fn record_db_transaction(&self, duration: Duration) {
        self.db_txn_count.fetch_add(1, Relaxed);
        self.db_txn_nanos.fetch_add(nanos(duration), Relaxed);
    }

    pub(crate) fn count(&self, counter: &Counter, n: u64) {
        let counters = self.counters.get_or_init(|| Box::new([const { AtomicU64::new(0) }; COUNTERS]));
        counters[counter.index()].fetch_add(n, Relaxed);
    }

    pub(crate) fn usage(&self) -> ResourceUsage {
        ResourceUsage {
            cpu_nanos: self.cpu.load(Relaxed),
            system_nanos: self.system.load(Relaxed),
            db_txn_count: self.db_txn_count.load(Relaxed),
            db_txn_duration: Duration::from_nanos(self.db_txn_nanos.load(Relaxed)),
            db_wait: Duration::from_nanos(self.db_wait_nanos.load(Relaxed)),
            db_acquire: Duration::from_nanos(self.db_acquire_nanos.load(Relaxed)),
            counters: match self.counters.get() {
                Some(counters) => std::array::from_fn(|i| counters[i].load(Relaxed)),
                None => [0; COUNTERS],
            },
        }
    }

    /// Takes the times off; counts stay.
    pub(crate) fn take_times(&self) -> Times {
        Times(self.times().map(|time| time.swap(0, Relaxed)))
    }

    pub(crate) fn add_times(&self, times: &Times) {
        for (sum, time) in self.times().into_iter().zip(times.0) {
            if time > 0 {
                sum.fetch_add(time, Relaxed);
            }
        }
    }

    fn times(&self) -> [&AtomicU64; 5] {
        [&self.cpu, &self.system, &self.db_txn_nanos, &self.db_wait_nanos, &self.db_acquire_nanos]
    }

    /// CPU charged since the context finished; zero before.
    pub(crate) fn cpu_after_finish(&self) -> u64 {
        if self.ending().is_none() {
            return 0;
        }
        self.cpu.load(Relaxed).saturating_sub(self.cpu_at_finish.load(Relaxed))
    }

    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.state.load(Relaxed) & FINISHED != 0
    }

    /// Marks it finished; false if it was already.
    pub(crate) fn finish(&self, ending: Ending) -> bool {
        let now = clock::ticks().max(1);
        if self.finished.compare_exchange(0, now, Relaxed, Relaxed).is_err() {
            return false;
        }
        self.cpu_at_finish.store(self.cpu.load(Relaxed), Relaxed);
        // Last: whoever sees the mark sees the figures that go with it.
        self.state.fetch_or(FINISHED | ((ending as u32) << ENDING_SHIFT), Release);
        true
    }

    /// True the first time: late work is reported once a context.
    pub(crate) fn report_late(&self) -> bool {
        self.state.fetch_or(REPORTED, Relaxed) & REPORTED == 0
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        let state = self.state.load(Acquire);
        (state & FINISHED != 0).then(|| Ending::from_code(state >> ENDING_SHIFT))
    }

    /// Time from the start to the end, or to now.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos())
    }

    fn elapsed_nanos(&self) -> u64 {
        let end = match self.finished.load(Relaxed) {
            0 => clock::ticks(),
            finished => finished,
        };
        clock::nanos_between(self.started.load(Relaxed), end)
    }

    pub(crate) fn label(&self) -> Option<usize> {
        (self.label.load(Acquire) as usize).checked_sub(1)
    }

    /// True if there was no label yet.
    pub(crate) fn set_label(&self, index: usize) -> bool {
        let value = u32::try_from(index + 1).unwrap_or(u32::MAX);
        // Whoever sees the index finds its label.
        self.label.compare_exchange(0, value, Release, Relaxed).is_ok()
    }

    fn open(&self, id: u64, kind: ContextKind, label: u32) {
        self.id.store(id, Relaxed);
        self.kind.store(kind as u32, Relaxed);
        self.label.store(label, Release);
        self.started.store(clock::ticks(), Relaxed);
    }

    fn clear(&self) {
        for figure in [
            &self.cpu,
            &self.system,
            &self.db_txn_count,
            &self.db_txn_nanos,
            &self.db_wait_nanos,
            &self.db_acquire_nanos,
            &self.id,
            &self.finished,
            &self.cpu_at_finish,
        ] {
            figure.store(0, Relaxed);
        }
        self.state.store(0, Relaxed);
        if let Some(counters) = self.counters.get() {
            counters.iter().for_each(|counter| counter.store(0, Relaxed));
        }
    }

    fn kind(&self) -> ContextKind {
        ContextKind::from_code(self.kind.load(Relaxed))
    }
}

/// Times that go from one account to others.
pub(crate) struct Times([u64; 5]);

impl Times {
    /// One of so many equal parts; the first takes what is odd.
    pub(crate) fn share(&self, index: usize, parts: usize) -> Self {
        let parts = parts as u64;
        Self(self.0.map(|time| time / parts + if index == 0 { time % parts } else { 0 }))
    }
}

/// Held while times go from one context to others, and by those who read what all contexts together were charged.
static MOVING: Mutex<()> = Mutex::new(());

pub(crate) fn moving() -> MutexGuard<'static, ()> {
    lock(&MOVING)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

type Chunk = [Account; CHUNK];

/// Chunks that no ledger uses. They are never freed but handed on, so that a context can refer to its account
/// without counting.
static CHUNKS: Mutex<Vec<&'static Chunk>> = Mutex::new(Vec::new());

fn chunk() -> &'static Chunk {
    lock(&CHUNKS).pop().unwrap_or_else(|| Box::leak(Box::new(std::array::from_fn(|_| Account::default()))))
}

/// Where a context's account is.
#[derive(Debug)]
pub(crate) struct AccountRef {
    account: &'static Account,
    index: u32,
    shard: u8,
}

impl AccountRef {
    #[inline]
    pub(crate) fn get(&self) -> &Account {
        self.account
    }
}

/// The sums of the contexts of one label that are gone. Plain numbers: adding to them is part of each context's
/// end.
#[derive(Clone, Debug, Default)]
struct Totals {
    endings: [u64; Ending::COUNT],
    cpu: u64,
    system: u64,
    db_txn_count: u64,
    db_txn_nanos: u64,
    db_wait_nanos: u64,
    db_acquire_nanos: u64,
    after_finish: u64,
    elapsed: u64,
    counters: Option<Box<[u64; COUNTERS]>>,
}

impl Totals {
    fn add(&mut self, account: &Account) {
        let ending = account.ending().unwrap_or(Ending::Ok);
        self.endings[ending as usize] += 1;
        self.cpu += account.cpu.load(Relaxed);
        self.system += account.system.load(Relaxed);
        self.db_txn_count += account.db_txn_count.load(Relaxed);
        self.db_txn_nanos += account.db_txn_nanos.load(Relaxed);
        self.db_wait_nanos += account.db_wait_nanos.load(Relaxed);
        self.db_acquire_nanos += account.db_acquire_nanos.load(Relaxed);
        self.after_finish += account.cpu_after_finish();
        self.elapsed += account.elapsed_nanos();
        if let Some(counters) = account.counters.get() {
            let sums = self.counters.get_or_insert_with(|| Box::new([0; COUNTERS]));
            for (sum, counter) in sums.iter_mut().zip(counters.iter()) {
                *sum += counter.load(Relaxed);
            }
        }
    }

    fn usage(&self) -> ResourceUsage {
        ResourceUsage {
            cpu_nanos: self.cpu,
            system_nanos: self.system,
            db_txn_count: self.db_txn_count,
            db_txn_duration: Duration::from_nanos(self.db_txn_nanos),
            db_wait: Duration::from_nanos(self.db_wait_nanos),
            db_acquire: Duration::from_nanos(self.db_acquire_nanos),
            counters: self.counters.as_ref().map_or([0; COUNTERS], |counters| **counters),
        }
    }
}

#[derive(Default)]
struct Shard {
    chunks: Vec<&'static Chunk>,
    contexts: Vec<Weak<Inner>>,
    free: Vec<u32>,
    /// By label index; what never got a label comes first, by kind.
    totals: Vec<Totals>,
}

impl Shard {
    fn account(&self, index: u32) -> &'static Account {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    fn totals(&mut self, row: usize) -> &mut Totals {
        if self.totals.len() <= row {
            self.totals.resize_with(row + 1, Totals::default);
        }
        &mut self.totals[row]
    }
}

/// The accounts of one supervisor.
#[derive(Default)]
pub(crate) struct Ledger {
    shards: [Mutex<Shard>; SHARDS],
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
        let mut shard = lock(&self.shards[number]);
        let slot = shard.free.pop().unwrap_or_else(|| {
            let slots = shard.contexts.len();
            let first = slots as u32;
            shard.chunks.push(chunk());
            shard.contexts.resize_with(slots + CHUNK, Weak::new);
            shard.free.extend((first + 1..first + CHUNK as u32).rev());
            first
        });
        let label = label.map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX));
        let account = shard.account(slot);
        account.open(id, kind, label);
        let inner = make(AccountRef { account, index: slot, shard: number as u8 });
        shard.contexts[slot as usize] = Arc::downgrade(&inner);
        inner
    }

    /// Closes the account of a context that is gone: its figures go to its label's sums.
    pub(crate) fn close(&self, account: &AccountRef) {
        let mut shard = lock(&self.shards[account.shard as usize % SHARDS]);
        let figures = account.get();
        if let Some(row) = row(figures) {
            shard.totals(row).add(figures);
        }
        figures.clear();
        let gone = std::mem::take(&mut shard.contexts[account.index as usize]);
        shard.free.push(account.index);
        drop(shard);
        drop(gone);
    }

    /// Totals by label, in the order in which the labels came up. `open` are the open slices, by context id.
    pub(crate) fn totals(&self, open: &HashMap<u64, i64>) -> Vec<LabelTotals> {
        let mut rows: Vec<LabelTotals> = ContextKind::ALL
            .map(|kind| LabelTotals::new(kind, None))
            .into_iter()
            .chain(self.labels.all().map(|label| LabelTotals::new(label.kind, Some(Arc::clone(&label.name)))))
            .collect();
        for shard in &self.shards {
            let shard = lock(shard);
            // A label that came up since we listed them waits for the next reading.
            for (totals, row) in shard.totals.iter().zip(&mut rows) {
                row.add_gone(totals);
            }
            for slot in 0..shard.contexts.len() {
                let account = shard.account(slot as u32);
                if account.id.load(Relaxed) != 0
                    && let Some(row) = row(account).and_then(|row| rows.get_mut(row))
                {
                    row.add_live(account, open);
                }
            }
        }
        rows.retain(|row| row.started > 0);
        rows
    }

    /// CPU charged to root contexts, live and gone: each charge once, for nested ones roll up to their root.
    pub(crate) fn root_cpu(&self) -> u64 {
        let is_root = |row: usize| row_kind(row, &self.labels) != Some(ContextKind::Block);
        let mut cpu = 0;
        for shard in &self.shards {
            let shard = lock(shard);
            for (index, totals) in shard.totals.iter().enumerate() {
                if is_root(index) {
                    cpu += totals.cpu;
                }
            }
            for slot in 0..shard.contexts.len() {
                let account = shard.account(slot as u32);
                if account.id.load(Relaxed) != 0 && !account.kind().is_nested() {
                    cpu += account.cpu.load(Relaxed);
                }
            }
        }
        cpu
    }

    /// Books the open slices of nested contexts under their roots as well.
    pub(crate) fn lift_to_roots(&self, open: &mut HashMap<u64, i64>) {
        let nested: Vec<Arc<Inner>> = self.contexts().into_iter().filter(|inner| !inner.is_root()).collect();
        for inner in &nested {
            if let Some(&nanos) = open.get(&inner.id()) {
                *open.entry(inner.root().id()).or_default() += nanos;
            }
        }
    }

    /// Handles to all contexts that live.
    pub(crate) fn contexts(&self) -> Vec<Arc<Inner>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            all.extend(shard.contexts.iter().filter_map(Weak::upgrade));
            // A context whose last handle is one of ours goes when `all` does, after the lock.
        }
        all
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Contexts hold their supervisor, and it holds the ledger: none is left, all accounts are closed.
        let mut chunks = lock(&CHUNKS);
        for shard in &mut self.shards {
            chunks.append(&mut shard.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).chunks);
        }
    }
}

/// The row of an account's totals: one per kind for what has no label, then one per label. Nested contexts have
/// none, their root's has all they cost.
fn row(account: &Account) -> Option<usize> {
    let kind = account.kind();
    if kind == ContextKind::Nested {
        return None;
    }
    Some(account.label().map_or(kind as usize, |index| ContextKind::COUNT + index))
}

fn row_kind(row: usize, labels: &Labels) -> Option<ContextKind> {
    match row.checked_sub(ContextKind::COUNT) {
        None => Some(ContextKind::ALL[row]),
        Some(index) => labels.get(index).map(|label| label.kind),
    }
}

fn shard_of_this_thread() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Relaxed) as usize % SHARDS;
    }
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

/// What all contexts of one label have cost: those that are gone and those that live, each once.
///
/// Every figure but [`in_flight`](Self::in_flight) and [`open_cpu`](Self::open_cpu) only ever grows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LabelTotals {
    /// What kind of context it is a label of.
    pub kind: ContextKind,
    /// The label; `None` for contexts that have none (yet). That row is a gauge: what gets its label goes to
    /// the label's row, with all it has cost.
    pub label: Option<Arc<str>>,
    /// Contexts started.
    pub started: u64,
    /// Of those, how many have not finished.
    pub in_flight: u64,
    /// Of those that finished, how many ended well.
    pub ok: u64,
    /// Ended in an error.
    pub failed: u64,
    /// Ended in a panic.
    pub panicked: u64,
    /// Were dropped, aborted or left by their client before they were done.
    pub cancelled: u64,
    /// What they have cost.
    pub usage: ResourceUsage,
    /// Of their CPU time, what came after they had finished: from followers, or late.
    pub after_finish: Duration,
    /// Time from start to finish, all together.
    pub elapsed: Duration,
    /// CPU time in slices that are open right now, not yet in [`usage`](Self::usage).
    pub open_cpu: Duration,
}

impl LabelTotals {
    fn new(kind: ContextKind, label: Option<Arc<str>>) -> Self {
        Self {
            kind,
            label,
            started: 0,
            in_flight: 0,
            ok: 0,
            failed: 0,
            panicked: 0,
            cancelled: 0,
            usage: ResourceUsage::default(),
            after_finish: Duration::ZERO,
            elapsed: Duration::ZERO,
            open_cpu: Duration::ZERO,
        }
    }

    fn count(&mut self, ending: Ending, n: u64) {
        self.started += n;
        *match ending {
            Ending::Ok => &mut self.ok,
            Ending::Failed => &mut self.failed,
            Ending::Panicked => &mut self.panicked,
            Ending::Cancelled => &mut self.cancelled,
        } += n;
    }

    fn add_gone(&mut self, totals: &Totals) {
        for ending in Ending::ALL {
            self.count(ending, totals.endings[ending as usize]);
        }
        self.usage += totals.usage();
        self.after_finish += Duration::from_nanos(totals.after_finish);
        self.elapsed += Duration::from_nanos(totals.elapsed);
    }

    fn add_live(&mut self, account: &Account, open: &HashMap<u64, i64>) {
        match account.ending() {
            Some(ending) => {
                self.count(ending, 1);
                self.elapsed += account.elapsed();
            }
            None => {
                self.started += 1;
                self.in_flight += 1;
            }
        }
        self.usage += account.usage();
        self.after_finish += Duration::from_nanos(account.cpu_after_finish());
        let nanos = open.get(&account.id.load(Relaxed)).copied().unwrap_or(0);
        self.open_cpu += Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    }
}

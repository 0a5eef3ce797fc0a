//! A context's figures while it lives.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::elsewhere::{self, Elsewhere};
use super::moves::Times;
use super::nanos;
use crate::clock;
use crate::kind::{ContextKind, Ending};
use crate::remote::RemoteUsage;
use crate::sync::lock;
use crate::usage::{COUNTERS, Counter, ResourceUsage};

const FINISHED: u32 = 1;
const REPORTED: u32 = 2;
/// It has called others: contexts that have not do not look for what that has cost.
const CALLED: u32 = 4;
const ENDING_SHIFT: u32 = 8;
/// The class of the answer's status, 1 to 5; 0 while there is none.
const CLASS_SHIFT: u32 = 16;
const CLASS: u32 = 0xf << CLASS_SHIFT;

/// How many classes of status there are: 1xx to 5xx.
pub(super) const CLASSES: usize = 5;

/// A context's figures, in two cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Account {
    pub(super) cpu: AtomicU64,
    pub(super) system: AtomicU64,
    pub(super) db_txn_count: AtomicU64,
    pub(super) db_txn_nanos: AtomicU64,
    pub(super) db_wait_nanos: AtomicU64,
    pub(super) db_acquire_nanos: AtomicU64,
    state: AtomicU32,
    /// Index of the label, plus 1; 0 while there is none.
    label: AtomicU32,
    id: AtomicU64,
    kind: AtomicU32,
    started: AtomicU64,
    finished: AtomicU64,
    cpu_at_finish: AtomicU64,
    pub(super) counters: OnceLock<Box<[AtomicU64; COUNTERS]>>,
    elsewhere: OnceLock<Box<Elsewhere>>,
}

/// A switch touches the first of them alone, and whoever ends a context both.
const _: () = assert!(size_of::<Account>() == 128);

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

    pub(crate) fn record_remote(&self, usage: &RemoteUsage) {
        self.called().record(usage);
    }

    /// Where to write down what its calls have cost.
    fn called(&self) -> &Elsewhere {
        let elsewhere = self.elsewhere.get_or_init(Box::default);
        if self.state.load(Relaxed) & CALLED == 0 {
            self.state.fetch_or(CALLED, Relaxed);
        }
        elsewhere
    }

    /// What its calls have cost, if it has made any.
    #[inline]
    pub(super) fn elsewhere(&self) -> Option<&Elsewhere> {
        if self.state.load(Relaxed) & CALLED == 0 { None } else { self.elsewhere.get().map(|boxed| &**boxed) }
    }

    pub(crate) fn usage(&self) -> ResourceUsage {
        ResourceUsage {
            cpu_nanos: self.cpu.load(Relaxed),
            system_nanos: self.system.load(Relaxed),
            db_txn_count: self.db_txn_count.load(Relaxed),
            db_txn_duration: Duration::from_nanos(self.db_txn_nanos.load(Relaxed)),
            db_wait: Duration::from_nanos(self.db_wait_nanos.load(Relaxed)),
            db_acquire: Duration::from_nanos(self.db_acquire_nanos.load(Relaxed)),
            remote: self.elsewhere().map(Elsewhere::usage).unwrap_or_default(),
            counters: match self.counters.get() {
                Some(counters) => std::array::from_fn(|i| counters[i].load(Relaxed)),
                None => [0; COUNTERS],
            },
        }
    }

    /// Takes the times off; counts stay.
    pub(super) fn take_times(&self) -> Times {
        Times {
            own: self.times().map(|time| time.swap(0, Relaxed)),
            remote: self.elsewhere().map(Elsewhere::take_times).unwrap_or_default(),
        }
    }

    pub(super) fn add_times(&self, times: &Times) {
        for (sum, time) in self.times().into_iter().zip(times.own) {
            if time > 0 {
                sum.fetch_add(time, Relaxed);
            }
        }
        if times.remote != [0; elsewhere::TIMES] {
            self.called().add_times(&times.remote);
        }
    }

    fn times(&self) -> [&AtomicU64; 5] {
        [&self.cpu, &self.system, &self.db_txn_nanos, &self.db_wait_nanos, &self.db_acquire_nanos]
    }

    /// CPU charged since the context finished; zero before.
    pub(crate) fn cpu_after_finish(&self) -> u64 {
        if self.ending().is_none() { 0 } else { self.cpu_since(self.cpu.load(Relaxed)) }
    }

    /// Of so much CPU, what came after the finish.
    #[inline]
    pub(super) fn cpu_since(&self, cpu: u64) -> u64 {
        cpu.saturating_sub(self.cpu_at_finish.load(Relaxed))
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

    /// The class of the answer's status; the last one before the finish stays.
    pub(crate) fn set_status(&self, status: u16) {
        let class = match u32::from(status / 100) {
            class if class as usize <= CLASSES => class,
            _ => 0,
        };
        let _ = self.state.fetch_update(Relaxed, Relaxed, |state| {
            (state & FINISHED == 0).then_some((state & !CLASS) | (class << CLASS_SHIFT))
        });
    }

    /// True the first time: late work is reported once a context.
    pub(crate) fn report_late(&self) -> bool {
        self.state.fetch_or(REPORTED, Relaxed) & REPORTED == 0
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.end().map(|(ending, _)| ending)
    }

    /// How it ended, and the index of the class of its answer's status if there was one.
    #[inline]
    pub(super) fn end(&self) -> Option<(Ending, Option<usize>)> {
        let state = self.state.load(Acquire);
        if state & FINISHED == 0 {
            return None;
        }
        let class = ((state & CLASS) >> CLASS_SHIFT) as usize;
        Some((Ending::from_code((state >> ENDING_SHIFT) & 0xff), class.checked_sub(1)))
    }

    /// Time from the start to the end, or to now.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos())
    }

    pub(super) fn elapsed_nanos(&self) -> u64 {
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

    pub(super) fn open(&self, id: u64, kind: ContextKind, label: u32) {
        self.id.store(id, Relaxed);
        self.kind.store(kind as u32, Relaxed);
        self.label.store(label, Release);
        self.started.store(clock::ticks(), Relaxed);
    }

    pub(super) fn clear(&self) {
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
        if let Some(elsewhere) = self.elsewhere() {
            elsewhere.clear();
        }
        self.state.store(0, Relaxed);
        if let Some(counters) = self.counters.get() {
            counters.iter().for_each(|counter| counter.store(0, Relaxed));
        }
    }

    /// Reads something of each cache line.
    pub(super) fn touch(&self) -> u64 {
        self.cpu.load(Relaxed) ^ self.id.load(Relaxed) ^ self.cpu_at_finish.load(Relaxed)
    }

    pub(super) fn cpu(&self) -> u64 {
        self.cpu.load(Relaxed)
    }

    pub(super) fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    pub(super) fn kind(&self) -> ContextKind {
        ContextKind::from_code(self.kind.load(Relaxed))
    }
}

/// Where a context's account is.
#[derive(Debug)]
pub(crate) struct AccountRef {
    pub(super) account: &'static Account,
    pub(super) index: u32,
    pub(super) shard: u8,
}

impl AccountRef {
    #[inline]
    pub(crate) fn get(&self) -> &Account {
        self.account
    }
}

pub(super) const CHUNK: usize = 32;

pub(super) type Chunk = [Account; CHUNK];

/// Chunks that no ledger uses. They are never freed but handed on, so that a context can refer to its account
/// without counting.
pub(super) static CHUNKS: Mutex<Vec<&'static Chunk>> = Mutex::new(Vec::new());

pub(super) fn chunk() -> &'static Chunk {
    lock(&CHUNKS).pop().unwrap_or_else(|| Box::leak(Box::new(std::array::from_fn(|_| Account::default()))))
}

//! What the handles of one cache and its reaper share.

use std::borrow::Borrow;
use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use logcontext::{ClaimedName, ContextKind, Supervisor};
use quick_cache::sync::{EntryAction, EntryResult};
use tokio::sync::Notify;

use super::entry::{Cell, Deadline, Entry};
use super::figures::Figures;
use super::listener::{EvictionCause, Told};
use super::reaper;
use super::schedule::{Record, Schedule};
use crate::clock::{Clock, NEVER, nanos};
use crate::store::{Evicted, Store};
use crate::sync::{AtomicBool, Mutex, lock};

pub(super) struct Shared<K, V> {
    pub(super) name: ClaimedName,
    pub(super) supervisor: Supervisor,
    pub(super) origin: &'static Location<'static>,
    pub(super) capacity: usize,
    pub(super) expiry: Option<Duration>,
    pub(super) renew: bool,
    pub(super) clock: Clock,
    pub(super) figures: Figures,
    pub(super) store: Store<K, Entry<V>>,
    pub(super) schedule: Mutex<Schedule<K>>,
    /// Numbers the records.
    pub(super) records: AtomicU64,
    pub(super) told: Option<Told<K, V>>,
    /// Does the reaper run?
    pub(super) is_reaped: AtomicBool,
    /// Have all handles been dropped?
    pub(super) is_closed: AtomicBool,
    /// Wakes the reaper.
    pub(super) wake: Notify,
}

/// What becomes of an entry whose record is due.
enum Fate<V> {
    /// It has gone already, or has another record.
    Gone,
    Expired(V),
    /// It is due then.
    PutOff(u64),
}

impl<K, V> Shared<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The value, if it has not expired.
    #[inline]
    pub(super) fn hit<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(entry) = self.store.get(key) else {
            self.figures.missed();
            return None;
        };
        if self.clock.has_passed(entry.deadline.at()) {
            self.figures.missed();
            return None;
        }
        if entry.deadline.is_renewed() {
            entry.deadline.read(self.clock.now());
        }
        self.figures.hits.add_one();
        Some(entry.value)
    }

    pub(super) fn is_live(&self, entry: &Entry<V>) -> bool {
        !self.clock.has_passed(entry.deadline.at())
    }

    pub(super) fn insert(self: &Arc<Self>, key: K, value: V, expiry: Option<Duration>) {
        let now = self.clock.now();
        let mut fresh = Some(self.entry(value, now, expiry));
        let replaced = self.store.entry(&key, None, |_, entry| {
            let Some(mut fresh) = fresh.take() else { return EntryAction::Retain(None) };
            // It keeps the record it has, if that comes in time: it is sorted in again when it is due.
            let due = fresh.deadline.at();
            let record = if due < entry.scheduled.get() { self.record(&mut fresh, due) } else { None };
            if record.is_none() {
                fresh.record = entry.record;
                fresh.scheduled.set(entry.scheduled.get());
            }
            let old = std::mem::replace(entry, fresh);
            EntryAction::Retain(Some((old, record)))
        });
        match replaced {
            EntryResult::Retained(Some((old, record))) => {
                let cause =
                    if old.deadline.at() <= now { EvictionCause::Expired } else { EvictionCause::Replaced };
                self.evicted(|| key.clone(), old.value, cause);
                if let Some((due, number)) = record {
                    self.add_record(due, Record { key, number });
                }
            }
            EntryResult::Vacant(guard) => {
                let Some(fresh) = fresh else { return };
                self.fill(key, fresh, |entry, evicted| guard.insert_with_lifecycle(entry, evicted));
            }
            EntryResult::Retained(None)
            | EntryResult::Removed(..)
            | EntryResult::Replaced(..)
            | EntryResult::Timeout => {}
        }
    }

    pub(super) fn get_or_insert_with(
        self: &Arc<Self>,
        key: K,
        expiry: Option<Duration>,
        f: impl FnOnce() -> V,
    ) -> V {
        let now = self.clock.now();
        let found = self.store.entry(&key, None, |_, entry| {
            if entry.deadline.at() > now {
                entry.deadline.read(now);
                EntryAction::Retain(entry.value.clone())
            } else {
                EntryAction::ReplaceWithGuard
            }
        });
        let guard = match found {
            EntryResult::Retained(value) => {
                self.figures.hits.add_one();
                return value;
            }
            EntryResult::Vacant(guard) => guard,
            EntryResult::Replaced(guard, old) => {
                self.evicted(|| key.clone(), old.value, EvictionCause::Expired);
                guard
            }
            EntryResult::Removed(..) | EntryResult::Timeout => unreachable!("neither was asked for"),
        };
        self.figures.missed();
        let value = f();
        let fresh = self.entry(value.clone(), self.clock.now(), expiry);
        self.fill(key, fresh, |entry, evicted| guard.insert_with_lifecycle(entry, evicted));
        value
    }

    /// Puts in an entry where there was none, and schedules it.
    fn fill(
        self: &Arc<Self>,
        key: K,
        mut fresh: Entry<V>,
        put: impl FnOnce(Entry<V>, &mut Evicted<K, Entry<V>>) -> Result<(), Entry<V>>,
    ) {
        let due = fresh.deadline.at();
        let record = self.record(&mut fresh, due);
        let mut evicted = Evicted::default();
        if let Err(removed) = put(fresh, &mut evicted) {
            // Somebody has removed the key meanwhile: that came after this.
            self.evicted(|| key, removed.value, EvictionCause::Removed);
            return;
        }
        if let Some((due, number)) = record {
            self.add_record(due, Record { key, number });
        }
        for (key, entry) in evicted.into_entries() {
            let cause = if self.is_live(&entry) { EvictionCause::Capacity } else { EvictionCause::Expired };
            self.evicted(|| key, entry.value, cause);
        }
    }

    fn entry(&self, value: V, now: u64, expiry: Option<Duration>) -> Entry<V> {
        let expiry = expiry.or(self.expiry);
        let at = Clock::after(now, expiry);
        let deadline = match expiry {
            Some(expiry) if self.renew => Deadline::Renewed(Arc::new(at.into()), nanos(expiry)),
            _ => Deadline::Fixed(at),
        };
        Entry { value, deadline, record: 0, scheduled: Cell::new(NEVER) }
    }

    /// Gives the entry a record of its own, if it needs one: when it is due, and its number.
    fn record(&self, entry: &mut Entry<V>, due: u64) -> Option<(u64, u64)> {
        if due == NEVER {
            return None;
        }
        // Not under the schedule's lock: this may be called under one of the store's, which comes after that.
        let number = self.records.fetch_add(1, Relaxed) + 1;
        entry.record = number;
        entry.scheduled.set(due);
        Some((due, number))
    }

    fn add_record(self: &Arc<Self>, due: u64, record: Record<K>) {
        let entries = self.store.len();
        let (first, bloated) = {
            let mut schedule = lock(&self.schedule);
            (schedule.add(due, record), schedule.is_bloated(entries))
        };
        if reaper::ensure(self) {
            if first || bloated {
                self.wake.notify_one();
            }
            return;
        }
        // Nobody else does it: a little with each entry.
        self.reap();
        if bloated {
            let outline = lock(&self.schedule).outline();
            for bucket in outline.into_iter().flat_map(|(bucket, chunks)| std::iter::repeat_n(bucket, chunks))
            {
                self.sift(bucket);
            }
        }
    }

    /// Looks at a chunk of what is due. True if there was any.
    pub(super) fn reap(&self) -> bool {
        let now = self.clock.now();
        let Some(chunk) = lock(&self.schedule).take_due(now) else { return false };
        for record in chunk {
            match self.look_at(&record.key, record.number, now) {
                Fate::Gone => {}
                Fate::Expired(value) => self.evicted(|| record.key, value, EvictionCause::Expired),
                Fate::PutOff(due) => {
                    lock(&self.schedule).add(due, record);
                }
            }
        }
        true
    }

    /// Forgets what the schedule has on entries that are gone, in one chunk of this bucket.
    pub(super) fn sift(&self, bucket: u64) {
        let Some(chunk) = lock(&self.schedule).take_chunk(bucket) else { return };
        let wanted = |record: &Record<K>| {
            self.store.peek(&record.key).is_some_and(|entry| entry.record == record.number)
        };
        let kept: Vec<_> = chunk.into_iter().filter(wanted).collect();
        lock(&self.schedule).give_back(bucket, kept);
    }

    pub(super) fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (key, entry) = self.store.remove(key)?;
        let live = self.is_live(&entry);
        let cause = if live { EvictionCause::Removed } else { EvictionCause::Expired };
        let value = live.then(|| entry.value.clone());
        self.evicted(|| key, entry.value, cause);
        value
    }

    pub(super) fn clear(&self) {
        for (key, entry) in self.store.drain() {
            let cause = if self.is_live(&entry) { EvictionCause::Removed } else { EvictionCause::Expired };
            self.evicted(|| key, entry.value, cause);
        }
    }

    /// Removes the entry of this record, if its time is over.
    fn look_at(&self, key: &K, record: u64, now: u64) -> Fate<V> {
        let mut put_off = None;
        let removed = self.store.remove_if(key, |entry| {
            if entry.record != record {
                return false;
            }
            let due = entry.deadline.at();
            if due <= now {
                return true;
            }
            entry.scheduled.set(due);
            put_off = (due != NEVER).then_some(due);
            false
        });
        match (removed, put_off) {
            (Some((_, entry)), _) => Fate::Expired(entry.value),
            (None, Some(due)) => Fate::PutOff(due),
            (None, None) => Fate::Gone,
        }
    }

    /// Counts what has gone, and leaves it to the reaper to tell the listener, if there is one. Where no reaper runs,
    /// that is done here, in a context of the cache's all the same.
    pub(super) fn evicted(&self, key: impl FnOnce() -> K, value: V, cause: EvictionCause) {
        self.figures.evicted(cause);
        let Some(told) = &self.told else { return };
        told.add(key(), value, cause);
        if self.is_reaped.load(SeqCst) {
            self.wake.notify_one();
        } else {
            self.tell_here();
        }
    }

    /// Tells the listener all that it has not been told, in a context of the cache's.
    pub(super) fn tell_here(&self) {
        let Some(told) = self.told.as_ref().filter(|told| !told.is_done()) else { return };
        let label = format!("prune_cache-{}", &*self.name);
        let context = self.supervisor.context(label.clone()).kind(ContextKind::Background).label(&label);
        let context = context.origin(self.origin).start();
        context.scope(|| while told.tell(usize::MAX) {});
        context.finish();
    }
}

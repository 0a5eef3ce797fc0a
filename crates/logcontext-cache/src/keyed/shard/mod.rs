//! What is behind one lock: keys in use, who holds them, and who waits, in the order in which they came.
//!
//! Nothing here runs others' code but the equality of keys: what is to be dropped or woken is put into [`After`], for
//! when the lock is free again.

mod after;
mod look;
mod seat;

use std::task::Waker;
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use logcontext::LogContext;
use tokio::time::Instant;

use super::access::Access;
use super::slab::{NONE, Slab};
pub(super) use after::After;
use seat::{List, Wait};
pub(super) use seat::{Overdue, Seat, Waited};

pub(super) struct Shard<K> {
    /// The places in `keys`, by key.
    table: HashTable<u32>,
    keys: Slab<InUse<K>>,
    seats: Slab<Seat>,
    /// What there is to know of those who wait, or have waited and were not told of their turn yet.
    waits: Slab<Wait>,
    /// How many of the seats are those of waiters.
    waiting: usize,
    /// How many have had a turn so far.
    taken: u64,
}

/// A key that somebody holds.
struct InUse<K> {
    key: K,
    hash: u64,
    /// How much of the capacity is not taken.
    free: u32,
    holders: List,
    waiters: List,
}

/// What a rush has left behind.
struct Excess<K> {
    _table: HashTable<u32>,
    _keys: Slab<InUse<K>>,
    _seats: Slab<Seat>,
    _waits: Slab<Wait>,
}

impl<K> Shard<K> {
    pub(super) const fn new() -> Self {
        Self {
            table: HashTable::new(),
            keys: Slab::new(),
            seats: Slab::new(),
            waits: Slab::new(),
            waiting: 0,
            taken: 0,
        }
    }

    /// Takes the key, or a seat among those who wait for it if `may_wait`. Answers the seat, and whether it holds.
    #[expect(clippy::too_many_arguments, reason = "all that there is to know of who comes")]
    #[inline]
    pub(super) fn arrive(
        &mut self,
        key: K,
        hash: u64,
        access: Access,
        capacity: u32,
        may_wait: bool,
        context: LogContext,
        now: Instant,
        after: &mut After<K>,
    ) -> Option<(u32, bool)>
    where
        K: Eq,
    {
        let keys = &mut self.keys;
        let place = self.table.entry(hash, |&at| keys.get(at).key == key, |&at| keys.get(at).hash);
        let (at, free) = match place {
            Place::Occupied(place) => {
                after.key = Some(key);
                let at = *place.get();
                let in_use = keys.get(at);
                // Nobody overtakes those who wait.
                let free = if in_use.waiters.first == NONE { in_use.free } else { 0 };
                (at, free)
            }
            Place::Vacant(place) => {
                let (holders, waiters) = (List::EMPTY, List::EMPTY);
                let at = keys.insert(InUse { key, hash, free: capacity, holders, waiters });
                place.insert(at);
                (at, capacity)
            }
        };
        let weight = access.weight(capacity);
        let holds = weight <= free;
        let wait = match (holds, may_wait) {
            (true, _) => NONE,
            (false, true) => self.waits.insert(Wait::default()),
            (false, false) => {
                after.context = context;
                return None;
            }
        };
        let (previous, next) = (NONE, NONE);
        let seat = Seat { context, since: now, key: at, wait, previous, next, access, holds };
        let index = self.seats.insert(seat);
        let in_use = self.keys.get_mut(at);
        if holds {
            in_use.free -= weight;
            in_use.holders.push(index, &mut self.seats);
            self.taken += 1;
        } else {
            in_use.waiters.push(index, &mut self.seats);
            self.waiting += 1;
        }
        Some((index, holds))
    }

    /// Has the waiter's turn come? If not, it is this one to wake.
    pub(super) fn poll(&mut self, index: u32, waker: Waker, after: &mut After<K>) -> Option<Waited<K>>
    where
        K: Clone,
    {
        let seat = self.seats.get_mut(index);
        if !seat.holds {
            after.waker = self.waits.get_mut(seat.wait).waker.replace(waker);
            return None;
        }
        after.waker = Some(waker);
        let wait = self.waits.remove(std::mem::replace(&mut seat.wait, NONE));
        Some(wait.over(seat, &self.keys.get(seat.key).key, false))
    }

    /// Gives back what is held. The turn goes to those who are next; for them a wait is long from `limit` on.
    #[inline]
    pub(super) fn release(
        &mut self,
        index: u32,
        capacity: u32,
        limit: Duration,
        now: impl FnOnce() -> Instant,
        after: &mut After<K>,
    ) {
        let seat = self.seats.get(index);
        let (at, weight) = (seat.key, seat.access.weight(capacity));
        let in_use = self.keys.get_mut(at);
        in_use.holders.unlink(index, &mut self.seats);
        in_use.free += weight;
        after.context = self.seats.remove(index).context;
        if in_use.waiters.first != NONE {
            self.grant(at, capacity, limit, now(), &after.context.clone(), after);
        } else if in_use.holders.first == NONE {
            self.forget(at, after);
        }
    }

    /// Gives up a wait, also one that is over without the waiter's having heard of it.
    pub(super) fn give_up(
        &mut self,
        index: u32,
        capacity: u32,
        limit: Duration,
        now: Instant,
        after: &mut After<K>,
    ) -> Waited<K>
    where
        K: Clone,
    {
        let seat = self.seats.get_mut(index);
        let mut wait = self.waits.remove(std::mem::replace(&mut seat.wait, NONE));
        after.waker = wait.waker.take();
        let in_use = self.keys.get_mut(seat.key);
        if seat.holds {
            let waited = wait.over(seat, &in_use.key, false);
            self.release(index, capacity, limit, || now, after);
            return waited;
        }
        wait.waited = now.saturating_duration_since(seat.since);
        in_use.waiters.unlink(index, &mut self.seats);
        self.waiting -= 1;
        let seat = self.seats.remove(index);
        let holder = self.seats.get(in_use.holders.first).context.clone();
        wait.ends(limit, &holder);
        let waited = wait.over(&seat, &in_use.key, true);
        // It may have been a writer in front of readers who can go along with those who read.
        self.grant(seat.key, capacity, limit, now, &holder, after);
        after.context = seat.context;
        waited
    }

    /// The turn goes to as many of those who wait as there is room for, first come first. `from` was in their way.
    fn grant(
        &mut self,
        at: u32,
        capacity: u32,
        limit: Duration,
        now: Instant,
        from: &LogContext,
        after: &mut After<K>,
    ) {
        let in_use = self.keys.get_mut(at);
        while in_use.waiters.first != NONE {
            let index = in_use.waiters.first;
            let weight = self.seats.get(index).access.weight(capacity);
            if weight > in_use.free {
                break;
            }
            in_use.waiters.unlink(index, &mut self.seats);
            in_use.holders.push(index, &mut self.seats);
            in_use.free -= weight;
            self.waiting -= 1;
            self.taken += 1;
            let seat = self.seats.get_mut(index);
            let wait = self.waits.get_mut(seat.wait);
            seat.holds = true;
            wait.waited = now.saturating_duration_since(seat.since);
            wait.ends(limit, from);
            seat.since = now;
            if let Some(waker) = wait.waker.take() {
                after.wake(waker);
            }
        }
    }

    /// Nobody holds the key or waits for it any more.
    #[inline]
    fn forget(&mut self, at: u32, after: &mut After<K>) {
        let in_use = self.keys.remove(at);
        if let Ok(place) = self.table.find_entry(in_use.hash, |&other| other == at) {
            place.remove();
        }
        after.key = Some(in_use.key);
        if self.keys.len() == 0 && (self.seats.is_large() || self.keys.is_large()) {
            after.excess = Some(self.take_all());
        }
    }

    #[cold]
    fn take_all(&mut self) -> Box<Excess<K>> {
        Box::new(Excess {
            _table: std::mem::replace(&mut self.table, HashTable::new()),
            _keys: std::mem::replace(&mut self.keys, Slab::new()),
            _seats: std::mem::replace(&mut self.seats, Slab::new()),
            _waits: std::mem::replace(&mut self.waits, Slab::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_leaves_no_memory_behind() {
        let mut shard = Shard::<u64>::new();
        let come = |shard: &mut Shard<u64>, key| {
            let (mut after, context) = (After::new(), LogContext::sentinel());
            let came = shard.arrive(key, key, Access::Turn, 1, true, context, Instant::now(), &mut after);
            came.map(|(index, _)| index).expect("a seat")
        };
        let leave = |shard: &mut Shard<u64>, seat| {
            let mut after = After::new();
            shard.release(seat, 1, Duration::MAX, Instant::now, &mut after);
            after.finish();
        };
        // Many keys; then many who wait for one.
        for keys in [1_000, 1] {
            let seats: Vec<u32> = (0..1_000).map(|n| come(&mut shard, n % keys)).collect();
            assert!(shard.seats.is_large() && shard.seats.len() == 1_000);
            for seat in seats {
                if shard.seats.get(seat).wait != NONE {
                    assert!(shard.poll(seat, Waker::noop().clone(), &mut After::new()).is_some());
                }
                leave(&mut shard, seat);
            }
            assert_eq!(shard.counts().0, 0);
            assert!(!shard.seats.is_large() && !shard.keys.is_large() && !shard.waits.is_large());
            assert!(shard.table.is_empty() && shard.table.capacity() < 64);
        }
        // What a few need is kept.
        let seat = come(&mut shard, 1);
        leave(&mut shard, seat);
        let room = shard.table.capacity();
        let seat = come(&mut shard, 2);
        leave(&mut shard, seat);
        assert!(room > 0 && shard.table.capacity() == room);
    }
}

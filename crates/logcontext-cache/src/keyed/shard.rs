//! What is behind one lock: keys in use, who holds them, and who waits, in the order in which they came.
//!
//! Nothing here runs others' code but the equality of keys: what is to be dropped or woken is put into [`After`], for
//! when the lock is free again.

use std::task::Waker;
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use logcontext::LogContext;
use tokio::time::Instant;

use super::access::Access;
use super::slab::{NONE, Slab};

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

/// Somebody who holds a key or waits for it.
pub(super) struct Seat {
    pub(super) context: LogContext,
    /// A waiter's arrival; a holder's begin.
    pub(super) since: Instant,
    key: u32,
    /// The place in `waits`, of a waiter and of who was one.
    wait: u32,
    previous: u32,
    next: u32,
    access: Access,
    holds: bool,
}

/// A wait that somebody has not heard the end of.
struct Wait {
    waker: Option<Waker>,
    /// How long it was, once it is over.
    waited: Duration,
    /// Has it been reported as long?
    reported: bool,
    /// Whose end has ended it, if it was long and not reported.
    blamed: Option<LogContext>,
}

/// Seats one after the other.
#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

/// Who waits for whom, as the log shows it.
pub(super) struct Overdue<K> {
    pub(super) key: K,
    pub(super) access: Access,
    pub(super) waiter: LogContext,
    pub(super) waited: Duration,
    /// How many wait in front, while it waits.
    pub(super) ahead: Option<usize>,
    /// The one of the holders who came first, and for how long it has held the key; or whoever has held it last.
    pub(super) holder: LogContext,
    pub(super) held: Option<Duration>,
}

/// A wait that is over.
pub(super) struct Waited<K> {
    pub(super) waited: Duration,
    /// Was it over before its turn came?
    pub(super) gave_up: bool,
    /// It was long, and nobody has said so.
    pub(super) long: Option<Box<Overdue<K>>>,
}

/// What is to be done once the lock is free.
pub(super) struct After<K> {
    key: Option<K>,
    context: LogContext,
    waker: Option<Waker>,
    wake: Option<Waker>,
    more: Vec<Waker>,
    excess: Option<Box<Excess<K>>>,
}

/// What a rush has left behind.
struct Excess<K> {
    _table: HashTable<u32>,
    _keys: Slab<InUse<K>>,
    _seats: Slab<Seat>,
    _waits: Slab<Wait>,
}

impl<K> After<K> {
    #[inline]
    pub(super) const fn new() -> Self {
        let context = LogContext::sentinel();
        Self { key: None, context, waker: None, wake: None, more: Vec::new(), excess: None }
    }

    fn wake(&mut self, waker: Waker) {
        match self.wake {
            None => self.wake = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    /// Drops what is to be dropped and wakes whose turn it is, first come first.
    #[inline]
    pub(super) fn finish(mut self) {
        if let Some(first) = self.wake.take() {
            first.wake();
            self.more.drain(..).for_each(Waker::wake);
        }
    }
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

    /// Those who have waited for `limit` and were not told so yet, marked; and when the next will have.
    pub(super) fn overdue(
        &mut self,
        limit: Duration,
        now: Instant,
        out: &mut Vec<Overdue<K>>,
    ) -> Option<Instant>
    where
        K: Clone,
    {
        let mut next: Option<Instant> = None;
        if self.waiting == 0 {
            return next;
        }
        for (_, in_use) in self.keys.iter() {
            let holder = self.seats.get(in_use.holders.first);
            let (holder, held) = (holder.context.clone(), now.saturating_duration_since(holder.since));
            let mut index = in_use.waiters.first;
            let mut ahead = 0;
            while index != NONE {
                let seat = self.seats.get(index);
                let waited = now.saturating_duration_since(seat.since);
                if waited < limit {
                    // Whoever came later has waited less.
                    let due = seat.since.checked_add(limit);
                    next = [next, due].into_iter().flatten().min();
                    break;
                }
                if !std::mem::replace(&mut self.waits.get_mut(seat.wait).reported, true) {
                    let (key, access, waiter) = (in_use.key.clone(), seat.access, seat.context.clone());
                    let (holder, held, ahead) = (holder.clone(), Some(held), Some(ahead));
                    out.push(Overdue { key, access, waiter, waited, ahead, holder, held });
                }
                ahead += 1;
                index = seat.next;
            }
        }
        next
    }

    /// How many keys are in use, how many hold one, how many wait, how many have had a turn.
    pub(super) fn counts(&self) -> (usize, usize, usize, u64) {
        (self.keys.len(), self.seats.len() - self.waiting, self.waiting, self.taken)
    }

    /// Since when the one waits who came first.
    pub(super) fn longest(&self) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        let first = |in_use: &InUse<K>| {
            (in_use.waiters.first != NONE).then(|| self.seats.get(in_use.waiters.first).since)
        };
        self.keys.iter().filter_map(|(_, in_use)| first(in_use)).min()
    }

    /// Calls `f` for each who holds a key, or for each who waits for one.
    pub(super) fn each(&self, holders: bool, mut f: impl FnMut(&K, Access, &Seat)) {
        for (_, in_use) in self.keys.iter() {
            let list = if holders { in_use.holders } else { in_use.waiters };
            let mut index = list.first;
            while index != NONE {
                let seat = self.seats.get(index);
                f(&in_use.key, seat.access, seat);
                index = seat.next;
            }
        }
    }
}

impl Wait {
    /// It is over, thanks to `from`.
    fn ends(&mut self, limit: Duration, from: &LogContext) {
        if self.waited >= limit && !self.reported {
            self.blamed = Some(from.clone());
        }
    }

    fn over<K: Clone>(self, seat: &Seat, key: &K, gave_up: bool) -> Waited<K> {
        let long = self.blamed.map(|holder| {
            Box::new(Overdue {
                key: key.clone(),
                access: seat.access,
                waiter: seat.context.clone(),
                waited: self.waited,
                ahead: None,
                holder,
                held: None,
            })
        });
        Waited { waited: self.waited, gave_up, long }
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self { waker: None, waited: Duration::ZERO, reported: false, blamed: None }
    }
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };

    #[inline]
    fn push(&mut self, index: u32, seats: &mut Slab<Seat>) {
        let seat = seats.get_mut(index);
        (seat.previous, seat.next) = (self.last, NONE);
        match self.last {
            NONE => self.first = index,
            last => seats.get_mut(last).next = index,
        }
        self.last = index;
    }

    #[inline]
    fn unlink(&mut self, index: u32, seats: &mut Slab<Seat>) {
        let seat = seats.get(index);
        let (previous, next) = (seat.previous, seat.next);
        match previous {
            NONE => self.first = next,
            previous => seats.get_mut(previous).next = next,
        }
        match next {
            NONE => self.last = previous,
            next => seats.get_mut(next).previous = previous,
        }
    }
}

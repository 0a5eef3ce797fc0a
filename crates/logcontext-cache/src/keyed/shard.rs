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

/// So many keys' room is kept for reuse when no key is in use.
const KEPT: usize = 32;

pub(super) struct Shard<K> {
    /// The places in `keys`, by key.
    table: HashTable<u32>,
    keys: Slab<InUse<K>>,
    seats: Slab<Seat>,
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
    key: u32,
    access: Access,
    holds: bool,
    /// A waiter's arrival; a holder's begin.
    pub(super) since: Instant,
    /// How long a holder has waited before.
    pub(super) waited: Duration,
    pub(super) context: LogContext,
    waker: Option<Waker>,
    /// Has the wait been reported as long?
    reported: bool,
    /// Whose end has ended a long wait that was not reported.
    blamed: Option<LogContext>,
    previous: u32,
    next: u32,
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
    pub(super) long: Option<Overdue<K>>,
}

/// What is to be done once the lock is free.
pub(super) struct After<K> {
    wake: Option<Waker>,
    more: Vec<Waker>,
    key: Option<K>,
    context: Option<LogContext>,
    waker: Option<Waker>,
    keys: Option<Slab<InUse<K>>>,
    seats: Option<Slab<Seat>>,
    table: Option<HashTable<u32>>,
}

impl<K> After<K> {
    pub(super) const fn new() -> Self {
        Self {
            wake: None,
            more: Vec::new(),
            key: None,
            context: None,
            waker: None,
            keys: None,
            seats: None,
            table: None,
        }
    }

    fn wake(&mut self, waker: Waker) {
        match self.wake {
            None => self.wake = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    /// Drops what is to be dropped and wakes whose turn it is, first come first.
    pub(super) fn finish(mut self) {
        let (wake, more) = (self.wake.take(), std::mem::take(&mut self.more));
        wake.into_iter().chain(more).for_each(Waker::wake);
    }
}

impl<K> Shard<K> {
    pub(super) const fn new() -> Self {
        Self { table: HashTable::new(), keys: Slab::new(), seats: Slab::new(), waiting: 0, taken: 0 }
    }

    /// Takes the key, or a seat among those who wait for it if `may_wait`. Answers the seat, and whether it holds.
    #[expect(clippy::too_many_arguments, reason = "all that there is to know of who comes")]
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
        if !holds && !may_wait {
            after.context = Some(context);
            return None;
        }
        let index = self.seats.insert(Seat {
            key: at,
            access,
            holds,
            since: now,
            waited: Duration::ZERO,
            context,
            waker: None,
            reported: false,
            blamed: None,
            previous: NONE,
            next: NONE,
        });
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
    pub(super) fn poll(&mut self, seat: u32, waker: Waker, after: &mut After<K>) -> Option<Waited<K>>
    where
        K: Clone,
    {
        let seat = self.seats.get_mut(seat);
        if !seat.holds {
            after.waker = seat.waker.replace(waker);
            return None;
        }
        after.waker = Some(waker);
        let key = &self.keys.get(seat.key).key;
        Some(seat.waited(key, false))
    }

    /// Gives the seat up, a holder's or a waiter's, and the turn to those who are next. A wait is long from `limit` on.
    pub(super) fn leave(
        &mut self,
        seat: u32,
        capacity: u32,
        limit: Duration,
        now: impl Fn() -> Instant,
        after: &mut After<K>,
    ) -> Waited<K>
    where
        K: Clone,
    {
        let (at, holds) = {
            let seat = self.seats.get(seat);
            (seat.key, seat.holds)
        };
        let in_use = self.keys.get_mut(at);
        let list = if holds { &mut in_use.holders } else { &mut in_use.waiters };
        list.unlink(seat, &mut self.seats);
        let mut seat = self.seats.remove(seat);
        after.waker = seat.waker.take();
        if holds {
            in_use.free += seat.access.weight(capacity);
        } else {
            self.waiting -= 1;
            seat.waited = now().saturating_duration_since(seat.since);
            if seat.waited >= limit && !seat.reported {
                seat.blamed = Some(self.seats.get(in_use.holders.first).context.clone());
            }
        }
        let waited = seat.waited(&in_use.key, !holds);
        if in_use.waiters.first != NONE {
            let in_the_way = if holds { &seat } else { self.seats.get(in_use.holders.first) };
            let in_the_way = in_the_way.context.clone();
            self.grant(at, capacity, limit, now(), &in_the_way, after);
        } else if in_use.holders.first == NONE {
            self.forget(at, after);
        }
        after.context = Some(seat.context);
        waited
    }

    /// The turn goes to as many of those who wait as there is room for, first come first.
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
            seat.holds = true;
            seat.waited = now.saturating_duration_since(seat.since);
            seat.since = now;
            if seat.waited >= limit && !seat.reported {
                seat.blamed = Some(from.clone());
            }
            if let Some(waker) = seat.waker.take() {
                after.wake(waker);
            }
        }
    }

    /// Nobody holds the key or waits for it any more.
    fn forget(&mut self, at: u32, after: &mut After<K>) {
        let in_use = self.keys.remove(at);
        if let Ok(place) = self.table.find_entry(in_use.hash, |&other| other == at) {
            place.remove();
        }
        after.key = Some(in_use.key);
        if self.keys.len() == 0 {
            after.keys = self.keys.take_excess();
            after.seats = self.seats.take_excess();
            after.table =
                (self.table.capacity() > KEPT).then(|| std::mem::replace(&mut self.table, HashTable::new()));
        }
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
                let seat = self.seats.get_mut(index);
                let waited = now.saturating_duration_since(seat.since);
                if waited < limit {
                    // Whoever came later has waited less.
                    let due = seat.since.checked_add(limit);
                    next = [next, due].into_iter().flatten().min();
                    break;
                }
                if !std::mem::replace(&mut seat.reported, true) {
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

impl Seat {
    fn waited<K: Clone>(&mut self, key: &K, gave_up: bool) -> Waited<K> {
        let long = self.blamed.take().map(|holder| Overdue {
            key: key.clone(),
            access: self.access,
            waiter: self.context.clone(),
            waited: self.waited,
            ahead: None,
            holder,
            held: None,
        });
        Waited { waited: self.waited, gave_up, long }
    }
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };

    fn push(&mut self, index: u32, seats: &mut Slab<Seat>) {
        let seat = seats.get_mut(index);
        (seat.previous, seat.next) = (self.last, NONE);
        match self.last {
            NONE => self.first = index,
            last => seats.get_mut(last).next = index,
        }
        self.last = index;
    }

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

//! All keys in use, in shards: the part with a synchronisation of its own.
//!
//! A lock is held for a few pointers' work, never while a waker, a destructor or anything else of others runs.

use std::hash::{BuildHasher, Hash, RandomState};
use std::task::Waker;
use std::time::Duration;

use logcontext::LogContext;
use tokio::time::Instant;

use super::access::Access;
use super::shard::{After, Overdue, Seat, Shard, Waited};
use crate::sync::{Mutex, MutexGuard, lock};

pub(super) struct Places<K> {
    shards: Box<[OwnLine<Mutex<Shard<K>>>]>,
    hasher: RandomState,
    /// How much of a key there is to take.
    capacity: u32,
    /// A wait is long from here on.
    limit: Duration,
}

/// Apart from its neighbours in the processor's cache.
#[repr(align(128))]
struct OwnLine<T>(T);

/// Where somebody's seat is.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeatAt {
    shard: u32,
    index: u32,
}

impl<K> Places<K> {
    /// `shards` is taken up to the next power of two.
    pub(super) fn new(shards: usize, capacity: u32, limit: Duration) -> Self {
        let shard = |_| OwnLine(Mutex::new(Shard::new()));
        let shards = (0..shards.next_power_of_two()).map(shard).collect();
        Self { shards, hasher: RandomState::new(), capacity: capacity.max(1), limit }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Takes the key, or a seat among those who wait for it if `may_wait`. Answers the seat, and whether it holds.
    #[inline]
    pub(super) fn arrive(
        &self,
        key: K,
        access: Access,
        may_wait: bool,
        context: LogContext,
    ) -> Option<(SeatAt, bool)>
    where
        K: Hash + Eq,
    {
        let hash = self.hasher.hash_one(&key);
        // Other bits than those that the table looks at.
        let shard = (hash >> 32) as usize & (self.shards.len() - 1);
        let now = Instant::now();
        let mut after = After::new();
        let came = lock(&self.shards[shard].0).arrive(
            key,
            hash,
            access,
            self.capacity,
            may_wait,
            context,
            now,
            &mut after,
        );
        after.finish();
        came.map(|(index, holds)| (SeatAt { shard: shard as u32, index }, holds))
    }

    /// Has the waiter's turn come? If not, it is this one to wake.
    pub(super) fn poll(&self, seat: SeatAt, waker: &Waker) -> Option<Waited<K>>
    where
        K: Clone,
    {
        let mut after = After::new();
        let waker = waker.clone();
        let granted = self.shard(seat).poll(seat.index, waker, &mut after);
        after.finish();
        granted
    }

    /// Gives back what the holder in this seat holds. Each is given back once.
    #[inline]
    pub(super) fn release(&self, seat: SeatAt) {
        let mut after = After::new();
        self.shard(seat).release(seat.index, self.capacity, self.limit, Instant::now, &mut after);
        after.finish();
    }

    /// Gives up the wait of the one in this seat, which has not heard that it is over.
    pub(super) fn give_up(&self, seat: SeatAt) -> Waited<K>
    where
        K: Clone,
    {
        let (mut after, now) = (After::new(), Instant::now());
        let waited = self.shard(seat).give_up(seat.index, self.capacity, self.limit, now, &mut after);
        after.finish();
        waited
    }

    /// Those who have waited for too long and were not told so yet, marked; and when the next will have.
    pub(super) fn overdue(&self, now: Instant, found: &mut Vec<Overdue<K>>) -> Option<Instant>
    where
        K: Clone,
    {
        self.shards.iter().filter_map(|shard| lock(&shard.0).overdue(self.limit, now, found)).min()
    }

    /// How many keys are in use, how many hold one, how many wait, how many have had a turn.
    pub(super) fn counts(&self) -> (usize, usize, usize, u64) {
        self.shards.iter().fold((0, 0, 0, 0), |(keys, holding, waiting, taken), shard| {
            let more = lock(&shard.0).counts();
            (keys + more.0, holding + more.1, waiting + more.2, taken + more.3)
        })
    }

    /// Since when the one waits who came first.
    pub(super) fn longest(&self) -> Option<Instant> {
        self.shards.iter().filter_map(|shard| lock(&shard.0).longest()).min()
    }

    /// Calls `f` for each who holds a key, or for each who waits for one; those of one key in their order.
    pub(super) fn each(&self, holders: bool, mut f: impl FnMut(&K, Access, &Seat)) {
        for shard in &self.shards {
            lock(&shard.0).each(holders, &mut f);
        }
    }

    #[inline]
    fn shard(&self, seat: SeatAt) -> MutexGuard<'_, Shard<K>> {
        lock(&self.shards[seat.shard as usize].0)
    }
}

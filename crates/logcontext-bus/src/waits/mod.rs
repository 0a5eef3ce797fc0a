//! Whoever waits for something that is told from elsewhere, for so long at most: calls for their answers, slow handlers
//! for their end to be asked for.
//!
//! No wait allocates, and none has a timer of its own: one task sleeps until the next is over, and works for callers of
//! any runtime or none. A wait ends up to two milliseconds after its time, never before it.

mod clock;
mod shard;
mod sweep;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::time::Instant;

use clock::Clock;
use shard::Shard;
pub(crate) use shard::{Kind, Told};
pub(crate) use sweep::Sweeping;

/// So many parts, each with a lock of its own.
const SHARDS: usize = 8;

/// All who wait. Which wait it is, a number says; one that is over is no other's for a long time.
pub(crate) struct Waits {
    shards: [Mutex<Shard>; SHARDS],
    clock: Clock,
    /// Somebody waits for less time than the sweeper sleeps.
    sooner: Notify,
}

impl Default for Waits {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), clock: Clock::new(), sooner: Notify::new() }
    }
}

impl Waits {
    /// Begins to wait, until then at most. `waker` is woken when there is something to [`poll`](Self::poll).
    pub(crate) fn begin(&self, kind: Kind, until: Instant, waker: &Waker) -> u64 {
        let number = Self::own_shard();
        let due = self.clock.tick_after(until);
        let (local, is_sooner) = self.shard(number).begin(kind, due, waker.clone());
        if is_sooner {
            self.sooner.notify_one();
        }
        local * SHARDS as u64 + number as u64
    }

    /// What it was told, once it was. Then it is over, and its number is worth nothing.
    pub(crate) fn poll(&self, wait: u64, cx: &mut Context<'_>) -> Poll<Told> {
        let (mut shard, local) = self.find(wait);
        shard.poll(local, cx.waker())
    }

    /// Nobody waits any more. Answers whether it had not been told anything.
    pub(crate) fn forget(&self, wait: u64) -> bool {
        let (mut shard, local) = self.find(wait);
        let forgotten = shard.forget(local);
        drop(shard);
        // Whatever it had been told is dropped out of the lock.
        forgotten.is_some_and(|told| told.is_none())
    }

    /// Tells it. Answers whether it still waited.
    pub(crate) fn tell(&self, wait: u64, kind: Kind, told: Told) -> bool {
        let (mut shard, local) = self.find(wait);
        let waker = shard.tell(local, kind, told);
        drop(shard);
        waker.map(Waker::wake).is_some()
    }

    /// Tells all of this kind. Answers how many waited.
    pub(crate) fn tell_all(&self, kind: Kind, told: impl Fn() -> Told) -> usize {
        let mut count = 0;
        for number in 0..SHARDS {
            let wakers = self.shard(number).tell_all(kind, &told);
            count += wakers.len();
            wakers.into_iter().for_each(Waker::wake);
        }
        count
    }

    /// So many wait.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        (0..SHARDS).map(|number| self.shard(number).count(kind)).sum()
    }

    /// Ends those whose time is over. Answers when to look again.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let now = self.clock.tick_before(now);
        let mut next = u64::MAX;
        for number in 0..SHARDS {
            let (wakers, due) = self.shard(number).sweep(now);
            wakers.into_iter().for_each(Waker::wake);
            next = next.min(due);
        }
        (next < u64::MAX).then(|| self.clock.time_of(next))
    }

    fn find(&self, wait: u64) -> (MutexGuard<'_, Shard>, u64) {
        (self.shard((wait % SHARDS as u64) as usize), wait / SHARDS as u64)
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each thread keeps to one part, so that few meet in it.
    fn own_shard() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = NEXT.fetch_add(1, Relaxed) % SHARDS;
        }
        OWN.try_with(|own| *own).unwrap_or(0)
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits")
            .field("calls", &self.count(Kind::Call))
            .field("handlers", &self.count(Kind::Handler))
            .finish()
    }
}

#[cfg(test)]
mod tests;

//! Looking at all who hold something or wait: only when somebody asks.

use std::time::Duration;

use tokio::time::Instant;

use super::super::access::Access;
use super::super::slab::NONE;
use super::{InUse, Overdue, Seat, Shard};

impl<K> Shard<K> {
    /// Those who have waited for `limit` and were not told so yet, marked; and when the next will have.
    pub(crate) fn overdue(
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
    pub(crate) fn counts(&self) -> (usize, usize, usize, u64) {
        (self.keys.len(), self.seats.len() - self.waiting, self.waiting, self.taken)
    }

    /// Since when the one waits who came first.
    pub(crate) fn longest(&self) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        let first = |in_use: &InUse<K>| {
            (in_use.waiters.first != NONE).then(|| self.seats.get(in_use.waiters.first).since)
        };
        self.keys.iter().filter_map(|(_, in_use)| first(in_use)).min()
    }

    /// Calls `f` for each who holds a key, or for each who waits for one.
    pub(crate) fn each(&self, holders: bool, mut f: impl FnMut(&K, Access, &Seat)) {
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

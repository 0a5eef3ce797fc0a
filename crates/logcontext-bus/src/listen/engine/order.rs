//! Whose turn it is: one event of a key at a time, the oldest first.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use rustc_hash::FxHashMap;

use crate::transport::DeliveryId;

/// The keys that have an event whose turn it is. Known by a hash: two keys that have the same wait for each other, which
/// does no harm and is not for others to bring about.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    keys: RandomState,
    lanes: FxHashMap<u64, Lane>,
}

#[derive(Debug)]
struct Lane {
    current: DeliveryId,
    /// In order; with those that have gone meanwhile.
    waiting: VecDeque<DeliveryId>,
}

/// What an event that joins its lane finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is its turn.
    Now,
    /// Another is before it.
    Later,
    /// It is its turn, and no more that of this one, which has not begun.
    InsteadOf(DeliveryId),
}

impl Lanes {
    pub(super) fn of(&self, key: &str) -> u64 {
        self.keys.hash_one(key)
    }

    /// An event of this lane has come. `has_begun` is asked of the one whose turn it is.
    pub(super) fn join(
        &mut self,
        lane: u64,
        id: DeliveryId,
        has_begun: impl FnOnce(DeliveryId) -> bool,
    ) -> Turn {
        let lane = match self.lanes.entry(lane) {
            Entry::Vacant(entry) => {
                entry.insert(Lane { current: id, waiting: VecDeque::new() });
                return Turn::Now;
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        if id < lane.current && !has_begun(lane.current) {
            let later = std::mem::replace(&mut lane.current, id);
            lane.waiting.push_front(later);
            return Turn::InsteadOf(later);
        }
        // Nearly always it is the newest; one that comes back is not.
        if lane.waiting.back().is_none_or(|last| *last < id) {
            lane.waiting.push_back(id);
        } else {
            let at = lane.waiting.partition_point(|other| *other < id);
            lane.waiting.insert(at, id);
        }
        Turn::Later
    }

    /// The one whose turn it was has gone. Answers whose turn it is now, the first of those of which it is so.
    pub(super) fn next(&mut self, lane: u64, is_waiting: impl Fn(DeliveryId) -> bool) -> Option<DeliveryId> {
        let found = self.lanes.get_mut(&lane)?;
        while let Some(id) = found.waiting.pop_front() {
            if is_waiting(id) {
                found.current = id;
                return Some(id);
            }
        }
        self.lanes.remove(&lane);
        None
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::EventId;

    fn id(n: u64) -> DeliveryId {
        DeliveryId { partition: 0, id: EventId(n, 0) }
    }

    #[test]
    fn one_of_a_key_at_a_time_the_oldest_first() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.join(1, id(1), |_| true), Turn::Now);
        assert_eq!(lanes.join(2, id(2), |_| true), Turn::Now);
        for later in [5, 3, 4, 7] {
            assert_eq!(lanes.join(1, id(later), |_| true), Turn::Later);
        }
        let next = |lanes: &mut Lanes| lanes.next(1, |other| other != id(4));
        assert_eq!(next(&mut lanes), Some(id(3)));
        assert_eq!(next(&mut lanes), Some(id(5)), "4 has gone meanwhile");
        assert_eq!(next(&mut lanes), Some(id(7)));
        assert_eq!(next(&mut lanes), None);
        assert_eq!(lanes.next(2, |_| true), None);
        assert!(lanes.is_empty());
    }

    #[test]
    fn an_older_one_goes_before_one_that_has_not_begun() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.join(1, id(5), |_| true), Turn::Now);
        assert_eq!(lanes.join(1, id(3), |_| false), Turn::InsteadOf(id(5)));
        assert_eq!(lanes.join(1, id(2), |_| true), Turn::Later);
        assert_eq!(lanes.next(1, |_| true), Some(id(2)));
        assert_eq!(lanes.next(1, |_| true), Some(id(5)));
    }
}

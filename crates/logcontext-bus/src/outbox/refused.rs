//! What the broker has refused, and when it is tried again.

use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// The first pause before a refused event is tried again, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(5)];

/// Of so many lanes it is known, at most. Where more are refused, it is the broker's trouble and no event's.
const MOST: usize = 1_000;

/// The lanes whose first event was refused: nothing later of the same lane is sent before it.
#[derive(Debug, Default)]
pub(super) struct Refused(FxHashMap<i64, First>);

#[derive(Debug)]
struct First {
    id: i64,
    refusals: u32,
    pause: Duration,
    again: Instant,
}

impl Refused {
    /// This one was, once more. Answers how often that makes; `None` if there are too many to know.
    pub(super) fn refused(&mut self, lane: i64, id: i64, now: Instant) -> Option<u32> {
        if self.0.len() >= MOST && !self.0.contains_key(&lane) {
            return None;
        }
        let new = First { id, refusals: 0, pause: PAUSES[0], again: now };
        let first = self.0.entry(lane).or_insert(new);
        if first.id != id {
            // Somebody has taken the other one away.
            *first = First { id, refusals: 0, pause: PAUSES[0], again: now };
        }
        first.refusals += 1;
        first.again = now + first.pause;
        first.pause = (first.pause * 2).min(PAUSES[1]);
        Some(first.refusals)
    }

    /// Something of this lane was sent, or set aside.
    pub(super) fn passed(&mut self, lane: i64) {
        self.0.remove(&lane);
    }

    /// The lanes that are not to be read now.
    pub(super) fn pausing(&self, now: Instant) -> impl Iterator<Item = i64> {
        self.0.iter().filter(move |(_, first)| first.again > now).map(|(lane, _)| *lane)
    }

    /// When the next one is to be tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|first| first.again).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_again_and_again_waits_longer_each_time() {
        let (mut refused, start) = (Refused::default(), Instant::now());
        let mut now = start;
        for times in 1..=10 {
            assert_eq!(refused.refused(7, 1, now), Some(times));
            assert_eq!(refused.pausing(now).collect::<Vec<_>>(), [7]);
            let next = refused.next().unwrap();
            assert!(next - now <= PAUSES[1]);
            now = next;
            assert_eq!(refused.pausing(now).count(), 0);
        }
        assert_eq!(now - start, Duration::from_millis(10 * 511 + 5_000));
    }

    #[test]
    fn another_event_of_the_lane_begins_anew() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        assert_eq!((refused.refused(7, 1, now), refused.refused(7, 1, now)), (Some(1), Some(2)));
        assert_eq!(refused.refused(7, 2, now), Some(1));
        refused.passed(7);
        assert!(refused.next().is_none());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        for lane in 0..MOST as i64 {
            assert_eq!(refused.refused(lane, lane, now), Some(1));
        }
        assert_eq!(refused.refused(-1, -1, now), None);
        assert_eq!(refused.refused(0, 0, now), Some(2), "those that are known are counted on");
        refused.passed(0);
        assert_eq!(refused.refused(-1, -1, now), Some(1));
    }
}

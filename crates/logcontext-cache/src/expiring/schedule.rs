//! Which keys to look at when: what is due soonest is found without looking at the rest.
//!
//! Records are sorted into buckets by time. A bucket is in chunks, so that neither filling nor emptying a large one ever
//! takes long at once. An entry that is put off keeps its record: when that is due it is sorted in again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::{NEVER, nanos};

/// Records in a chunk: what is looked at in one go.
pub(super) const CHUNK: usize = 256;
/// More records than twice the entries, and these, are too many.
const SLACK: usize = 4_096;

pub(super) struct Schedule<K> {
    buckets: BTreeMap<u64, VecDeque<Vec<Record<K>>>>,
    width: u64,
    records: usize,
}

/// Look at this key: unless its entry has another record by now.
pub(super) struct Record<K> {
    pub(super) key: K,
    pub(super) number: u64,
}

impl<K> Schedule<K> {
    /// Entries go at most a 128th of the usual expiry after their time, a second at most.
    pub(super) fn new(expiry: Option<Duration>) -> Self {
        let width = expiry.map_or(Duration::from_millis(100), |expiry| expiry / 128);
        let width = nanos(width.clamp(Duration::from_millis(1), Duration::from_secs(1)));
        Self { buckets: BTreeMap::new(), width, records: 0 }
    }

    /// Adds a record. True if it is due before all others.
    pub(super) fn add(&mut self, due: u64, record: Record<K>) -> bool {
        debug_assert!(due != NEVER, "what never expires is never due");
        let bucket = due.div_ceil(self.width);
        let first = self.buckets.first_key_value().is_none_or(|(first, _)| bucket < *first);
        let chunks = self.buckets.entry(bucket).or_default();
        match chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(record),
            // Most caches are small: a chunk grows to its size.
            _ => chunks.push_back(vec![record]),
        }
        self.records += 1;
        first
    }

    /// When the first ones are due; `None` if there are none.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.buckets.first_key_value().map(|(bucket, _)| bucket.saturating_mul(self.width))
    }

    /// A chunk of those that are due.
    pub(super) fn take_due(&mut self, now: u64) -> Option<Vec<Record<K>>> {
        let mut first = self.buckets.first_entry()?;
        if first.key().saturating_mul(self.width) > now {
            return None;
        }
        let chunk = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        let chunk = chunk.unwrap_or_default();
        self.records -= chunk.len();
        Some(chunk)
    }

    /// Are so many of them out of date that they should be sifted?
    pub(super) fn is_bloated(&self, entries: usize) -> bool {
        self.records > entries.saturating_mul(2).saturating_add(SLACK)
    }

    /// The buckets as they are now, and how many chunks each has: what to sift.
    pub(super) fn outline(&self) -> Vec<(u64, usize)> {
        self.buckets.iter().map(|(bucket, chunks)| (*bucket, chunks.len())).collect()
    }

    /// Takes the oldest chunk of a bucket, to give back what of it is still wanted.
    pub(super) fn take_chunk(&mut self, bucket: u64) -> Option<Vec<Record<K>>> {
        let chunk = self.buckets.get_mut(&bucket)?.pop_front()?;
        self.records -= chunk.len();
        Some(chunk)
    }

    pub(super) fn give_back(&mut self, bucket: u64, records: impl IntoIterator<Item = Record<K>>) {
        let chunks = self.buckets.entry(bucket).or_default();
        for record in records {
            match chunks.back_mut() {
                Some(chunk) if chunk.len() < CHUNK => chunk.push(record),
                _ => chunks.push_back(vec![record]),
            }
            self.records += 1;
        }
        if chunks.is_empty() {
            self.buckets.remove(&bucket);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    fn schedule(due: impl IntoIterator<Item = u64>) -> Schedule<u64> {
        let mut schedule = Schedule::new(Some(Duration::from_millis(128)));
        for (number, due) in (1..).zip(due) {
            schedule.add(due, Record { key: due, number });
        }
        schedule
    }

    fn take(schedule: &mut Schedule<u64>, now: u64) -> Vec<u64> {
        let chunks = std::iter::from_fn(|| schedule.take_due(now));
        chunks.flatten().map(|record| record.key).collect()
    }

    #[test]
    fn nothing_is_due_before_its_time_and_everything_at_most_a_bucket_after() {
        let mut schedule = schedule([5 * MILLI + 1, 3 * MILLI, 5 * MILLI, 900 * MILLI]);
        assert_eq!(schedule.next_due(), Some(3 * MILLI));
        assert_eq!(take(&mut schedule, 3 * MILLI - 1), [0; 0]);
        assert_eq!(take(&mut schedule, 5 * MILLI), [3 * MILLI, 5 * MILLI]);
        assert_eq!(take(&mut schedule, 6 * MILLI), [5 * MILLI + 1]);
        assert_eq!((schedule.next_due(), schedule.len()), (Some(900 * MILLI), 1));
    }

    #[test]
    fn only_what_is_due_before_all_others_changes_when_to_wake() {
        let mut schedule = schedule([]);
        let mut add = |due| schedule.add(due, Record { key: 0, number: 0 });
        assert!(add(5 * MILLI));
        assert!(!add(5 * MILLI) && !add(6 * MILLI));
        assert!(add(4 * MILLI));
    }

    #[test]
    fn a_large_bucket_comes_in_chunks() {
        let mut schedule = schedule(std::iter::repeat_n(MILLI, CHUNK * 3 + 1));
        let sizes: Vec<_> =
            std::iter::from_fn(|| schedule.take_due(MILLI)).map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [CHUNK, CHUNK, CHUNK, 1]);
        assert_eq!((schedule.next_due(), schedule.len()), (None, 0));
    }

    #[test]
    fn sifting_keeps_what_is_wanted_and_its_time() {
        let mut schedule = schedule((0..SLACK as u64 + 10).map(|n| (1 + n % 2) * MILLI));
        assert!(schedule.is_bloated(1) && !schedule.is_bloated(5));
        for (bucket, chunks) in schedule.outline() {
            for _ in 0..chunks {
                let chunk = schedule.take_chunk(bucket).unwrap();
                schedule.give_back(bucket, chunk.into_iter().filter(|record| record.number % 1_000 == 3));
            }
        }
        assert_eq!(schedule.len(), 5);
        assert_eq!(take(&mut schedule, MILLI).len(), 5);
        assert_eq!((schedule.next_due(), schedule.len()), (None, 0));
    }
}

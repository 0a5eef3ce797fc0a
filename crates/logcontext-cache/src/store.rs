//! Where entries are kept: quick_cache, with its evictions collected, so that they are dropped outside of its locks.

use std::hash::Hash;
use std::marker::PhantomData;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, UnitWeighter};

pub(crate) type Store<K, V> = Cache<K, V, UnitWeighter, DefaultHashBuilder, Collect<K, V>>;

/// A shard smaller than this evicts too early.
const SHARD: usize = 64;

/// For at most so many entries. It is in shards, each of which has its part of them.
pub(crate) fn store<K: Eq + Hash, V: Clone>(capacity: usize) -> Store<K, V> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut shards = threads.saturating_mul(4).next_power_of_two();
    while shards > 1 && capacity / shards < SHARD {
        shards /= 2;
    }
    let options = OptionsBuilder::new()
        .shards(shards)
        .estimated_items_capacity(capacity)
        // A shard's part is rounded up, and the sum would be more than was asked for.
        .weight_capacity((capacity - capacity % shards) as u64)
        .build()
        .unwrap_or_else(|_| unreachable!("both capacities are set"));
    Cache::with_options(options, UnitWeighter, DefaultHashBuilder::default(), Collect(PhantomData))
}

/// Hands what is evicted to whoever has inserted.
pub(crate) struct Collect<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> Clone for Collect<K, V> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<K, V> Lifecycle<K, V> for Collect<K, V> {
    type RequestState = Evicted<K, V>;

    fn on_evict(&self, evicted: &mut Evicted<K, V>, key: K, value: V) {
        match &mut evicted.first {
            first @ None => *first = Some((key, value)),
            Some(_) => evicted.more.push((key, value)),
        }
    }
}

/// What was evicted: mostly one.
pub(crate) struct Evicted<K, V> {
    first: Option<(K, V)>,
    more: Vec<(K, V)>,
}

impl<K, V> Default for Evicted<K, V> {
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<K, V> Evicted<K, V> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        self.first.into_iter().chain(self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_its_capacity_and_nearly_that_much() {
        for capacity in [0, 1, 2, 7, 64, 129, 1_000, 1_023, 50_000] {
            let store = store::<usize, usize>(capacity);
            let (mut kept, inserted) = (0, capacity * 3 + 10);
            let mut evicted = 0;
            for key in 0..inserted {
                let mut out = Evicted::default();
                store.insert_with_lifecycle(key, key, &mut out);
                evicted += out.len();
                assert_eq!(out.into_entries().filter(|(key, value)| key != value).count(), 0);
                kept = store.len();
                assert!(kept <= capacity, "{kept} of {capacity}");
            }
            assert!(kept >= capacity - capacity / 16, "{kept} of {capacity}");
            assert_eq!(kept + evicted, inserted);
        }
    }
}

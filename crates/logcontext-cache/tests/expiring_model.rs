//! Random sequences of inserting, reading, removing, clearing, listening and time going by, beside a plain model.
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, books, current_context};
use logcontext_cache::{EvictionCause, ExpiringCache};
use proptest::prelude::*;
use support::{here, until};

const KEYS: u32 = 4;
const EXPIRY: u64 = 8;

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    /// With an expiry of its own.
    InsertFor(u32, u64),
    Get(u32),
    Peek(u32),
    GetOrInsert(u32),
    /// Somebody's `get_or_insert_with` panics on its way.
    Panic(u32),
    Remove(u32),
    Clear,
    /// A handle is cloned, and the one before it dropped.
    Move,
    /// So many seconds go by.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..KEYS).prop_map(Step::Insert),
        3 => (0..KEYS, 0..20_u64).prop_map(|(key, expiry)| Step::InsertFor(key, expiry)),
        6 => (0..KEYS).prop_map(Step::Get),
        2 => (0..KEYS).prop_map(Step::Peek),
        3 => (0..KEYS).prop_map(Step::GetOrInsert),
        1 => (0..KEYS).prop_map(Step::Panic),
        2 => (0..KEYS).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        1 => Just(Step::Move),
        4 => (0..9_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..100)
}

/// Key, value, why it has gone.
type Gone = (u32, u32, EvictionCause);

#[derive(Clone, Copy)]
struct Entry {
    value: u32,
    expiry: u64,
    expires: u64,
}

/// What should be so. Whatever has expired has gone as soon as somebody could have noticed.
#[derive(Default)]
struct Model {
    renews: bool,
    now: u64,
    entries: BTreeMap<u32, Entry>,
    gone: Vec<Gone>,
    hits: u64,
    misses: u64,
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.entries.retain(|key, entry| {
            if entry.expires <= now {
                self.gone.push((*key, entry.value, EvictionCause::Expired));
            }
            entry.expires > now
        });
    }

    fn insert(&mut self, key: u32, value: u32, expiry: u64) {
        self.remove(key, EvictionCause::Replaced);
        self.entries.insert(key, Entry { value, expiry, expires: self.now + expiry });
        self.expire();
    }

    fn remove(&mut self, key: u32, cause: EvictionCause) -> Option<u32> {
        let entry = self.entries.remove(&key)?;
        self.gone.push((key, entry.value, cause));
        Some(entry.value)
    }

    fn get(&mut self, key: u32) -> Option<u32> {
        let (renews, now) = (self.renews, self.now);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        if renews {
            entry.expires = entry.expires.max(now + entry.expiry);
        }
        Some(entry.value)
    }
}

async fn follows_the_model(test: &Test, renews: bool, steps: Vec<Step>, is_paused: bool) {
    let told = Arc::new(Mutex::new(Vec::<Gone>::new()));
    let tell = Arc::clone(&told);
    let mut builder = ExpiringCache::builder("model").expiry(Duration::from_secs(EXPIRY)).capacity(1_000);
    if renews {
        builder = builder.renew_on_read();
    }
    let mut cache = builder.build_with_listener(move |key: u32, value: u32, cause| {
        assert_eq!(here(), "prune_cache-model-0", "in a passing caller's context");
        tell.lock().unwrap().push((key, value, cause));
    });
    let mut model = Model { renews, ..Model::default() };
    for (number, step) in steps.into_iter().enumerate() {
        let value = u32::try_from(number).unwrap();
        match step {
            Step::Insert(key) => {
                cache.insert(key, value);
                model.insert(key, value, EXPIRY);
            }
            Step::InsertFor(key, expiry) => {
                cache.insert_with_expiry(key, value, Duration::from_secs(expiry));
                model.insert(key, value, expiry);
            }
            Step::Get(key) => assert_eq!(cache.get(&key), model.get(key)),
            Step::Peek(key) => {
                assert_eq!(cache.peek(&key), model.entries.get(&key).map(|entry| entry.value));
            }
            Step::GetOrInsert(key) => {
                let known = model.get(key);
                let made = cache.get_or_insert_with(key, || {
                    assert!(known.is_none(), "{key} is there");
                    assert_eq!(here(), "asker", "made by who asks");
                    value
                });
                assert_eq!(made, known.unwrap_or(value));
                if known.is_none() {
                    model.insert(key, value, EXPIRY);
                }
            }
            Step::Panic(key) => {
                let known = model.get(key);
                let made = logcontext::catch_panic(|| cache.get_or_insert_with(key, || panic!("planned")));
                assert_eq!(made.ok(), known);
            }
            Step::Remove(key) => assert_eq!(cache.remove(&key), model.remove(key, EvictionCause::Removed)),
            Step::Clear => {
                cache.clear();
                for key in 0..KEYS {
                    model.remove(key, EvictionCause::Removed);
                }
            }
            Step::Move => cache = cache.clone(),
            Step::Wait(seconds) if is_paused => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                model.now += seconds;
                model.expire();
            }
            Step::Wait(_) => {}
        }
        // What one sees does not depend on what has been removed by now.
        let mut listed: Vec<_> = cache.iter().collect();
        listed.sort_unstable();
        let live: Vec<_> = model.entries.iter().map(|(key, entry)| (*key, entry.value)).collect();
        assert_eq!(listed, live);
        assert_eq!(here(), "asker");
    }
    // All that has expired goes by itself, a moment later, and the listener is told of everything, once.
    if is_paused {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    until(|| cache.len() == model.entries.len() && told.lock().unwrap().len() == model.gone.len()).await;
    let mut gone = std::mem::take(&mut *told.lock().unwrap());
    gone.sort_unstable_by_key(|(_, value, _)| *value);
    model.gone.sort_unstable_by_key(|(_, value, _)| *value);
    assert_eq!(gone, model.gone);
    let figures = support::figures::Figures::of(test.supervisor());
    assert_eq!(figures.get("cache_hits,cache=model"), model.hits as f64);
    assert_eq!(figures.get("cache_misses,cache=model"), model.misses as f64);
    assert_eq!(test.supervisor().running().len(), 1, "one process for one cache");
    drop(cache);
    until(|| test.supervisor().running().is_empty()).await;
    assert!(told.lock().unwrap().is_empty(), "it is not told of what is left");
}

/// Runs it on a runtime of its own; afterwards nothing is left, in no context, and the books balance.
fn checked(renews: bool, steps: Vec<Step>, workers: Option<usize>) {
    support::short_panics();
    let test = testing::start();
    let runtime = workers.map_or_else(|| test.current_thread(), |workers| test.multi_thread(workers));
    runtime.block_on(async {
        if workers.is_none() {
            tokio::time::pause();
        }
        let asker = test.supervisor().context("asker").start();
        follows_the_model(&test, renews, steps, workers.is_none()).in_context(asker).await;
    });
    drop(runtime);
    assert!(current_context().is_sentinel());
    support::nothing_is_left(&test);
    if let Some(books) = books() {
        assert!(books.discrepancy_percent().abs() < 1.0, "{books}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_follow_the_model(renews in any::<bool>(), steps in steps()) {
        checked(renews, steps, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_on_several_threads_follow_the_model(renews in any::<bool>(), steps in steps()) {
        checked(renews, steps, Some(2));
    }
}

//! The background process of an expiring cache: it begins with the cache, sleeps while there is nothing to do, and ends
//! with the last handle, the shutdown, or its runtime.
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use logcontext::testing;
use logcontext::{ContextKind, FutureExt, LogContext, Supervisor};
use logcontext_cache::{ExpiringBuilder, ExpiringCache};
use support::{on_both, paused, run, settle, until};

fn typing() -> ExpiringBuilder {
    ExpiringCache::builder("typing").expiry(Duration::from_secs(30)).capacity(1_000)
}

fn running(supervisor: &Supervisor) -> Vec<String> {
    supervisor.running().iter().map(|running| running.context.name().to_owned()).collect()
}

#[test]
fn it_begins_with_the_cache_and_ends_with_the_last_handle() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let request = LogContext::new("GET-1");
            let cache = async { typing().build::<u32, u32>() }.in_context(request).await;
            assert_eq!(running(&supervisor), ["prune_cache-typing-0"]);
            let process = &supervisor.running()[0];
            assert_eq!(process.context.kind(), ContextKind::Background);
            assert!(process.origin.file().ends_with("expiring_reaper.rs"));
            let other = cache.clone();
            drop(cache);
            settle().await;
            assert_eq!(running(&supervisor), ["prune_cache-typing-0"]);
            other.insert(1, 1);
            drop(other);
            until(|| supervisor.running().is_empty()).await;
        });
    });
}

#[test]
fn each_cache_has_one_however_much_is_put_in() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let cache = typing().build();
            let room = ExpiringCache::builder("rooms").build::<u32, u32>();
            for key in 0..5_000 {
                cache.insert(key, key);
            }
            assert_eq!(running(&supervisor), ["prune_cache-typing-0", "prune_cache-rooms-0"]);
            drop((cache, room));
            until(|| supervisor.running().is_empty()).await;
        });
    });
}

#[test]
fn it_sleeps_while_there_is_nothing_to_expire() {
    // The timer itself looks at what is far away a few times on the way there.
    const FEW: u64 = 12;
    let test = testing::start();
    let runtime = test.current_thread();
    let polls = || {
        // The executor parks after each turn.
        let metrics = runtime.metrics();
        metrics.worker_park_count(0)
    };
    runtime.block_on(async {
        tokio::time::pause();
        let cache = typing().build();
        settle().await;
        let before = polls();
        tokio::time::sleep(Duration::from_secs(1_000_000)).await;
        assert!(polls() - before <= FEW, "an empty cache is not polled");
        cache.insert(1, ());
        let before = polls();
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert!(polls() - before <= FEW, "nor is one of which nothing is due");
        assert_eq!(cache.len(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(cache.is_empty());
        let before = polls();
        tokio::time::sleep(Duration::from_secs(1_000_000)).await;
        assert!(polls() - before <= FEW, "nor is one that is empty again");
    });
    drop(runtime);
    support::nothing_is_left(&test);
}

#[test]
fn a_shutdown_ends_it_and_what_has_expired_is_not_returned_all_the_same() {
    paused(|test| {
        let supervisor = test.supervisor().clone();
        async move {
            let cache = typing().build();
            cache.insert(1, "a");
            let shutdown = supervisor.shutdown(Duration::from_secs(10)).await;
            assert!(shutdown.aborted.is_empty(), "{shutdown:?}");
            assert!(supervisor.running().is_empty());
            cache.insert(2, "b");
            assert_eq!((cache.get(&1), cache.get(&2)), (Some("a"), Some("b")));
            tokio::time::advance(Duration::from_secs(30)).await;
            assert_eq!((cache.get(&1), cache.get(&2)), (None, None));
            let late = ExpiringCache::builder("late").expiry(Duration::from_secs(30)).build();
            late.insert(1, ());
            assert_eq!(late.get(&1), Some(()));
            assert!(supervisor.running().is_empty(), "none begins any more");
        }
    });
}

#[test]
fn a_cache_that_was_made_without_a_runtime_is_reaped_from_its_first_entry_within_one() {
    let test = testing::start();
    let cache = typing().build();
    cache.insert(1, ());
    assert!(running(test.supervisor()).is_empty());
    let runtime = test.current_thread();
    runtime.block_on(async {
        // Whoever's context it is that brings it.
        let elsewhere = Supervisor::new("elsewhere");
        elsewhere.context("GET-1").start().scope(|| cache.insert(2, ()));
        assert_eq!(running(test.supervisor()), ["prune_cache-typing-0"]);
        assert!(elsewhere.running().is_empty(), "a cache is its own supervisor's");
        drop(cache);
        settle().await;
        assert!(running(test.supervisor()).is_empty());
    });
    drop(runtime);
    support::nothing_is_left(&test);
}

#[test]
fn a_cache_outlives_its_runtime_and_is_reaped_by_the_next() {
    let test = testing::start();
    let first = test.multi_thread(1);
    let cache = first.block_on(async { typing().build() });
    cache.insert_with_expiry(1, "a", Duration::ZERO);
    drop(first);
    assert!(running(test.supervisor()).is_empty());
    cache.insert(2, "b");
    assert_eq!((cache.get(&1), cache.get(&2)), (None, Some("b")));
    let second = test.current_thread();
    second.block_on(async {
        tokio::time::pause();
        cache.insert(3, "c");
        assert_eq!(running(test.supervisor()), ["prune_cache-typing-1"]);
        tokio::time::sleep(Duration::from_secs(32)).await;
        assert!(cache.is_empty());
    });
    drop((cache, second));
    support::nothing_is_left(&test);
}

#[test]
fn without_a_reaper_what_has_expired_goes_with_new_entries() {
    let test = testing::start();
    let cache = ExpiringCache::builder("typing").capacity(100_000).build();
    for key in 0..50_000 {
        cache.insert_with_expiry(key, (), Duration::ZERO);
    }
    assert!(cache.len() < 50_000, "{}", cache.len());
    drop(cache);
    support::nothing_is_left(&test);
}

#[test]
fn others_have_a_turn_while_much_expires_and_when_a_full_cache_is_dropped() {
    let test = testing::start();
    let runtime = test.current_thread();
    runtime.block_on(async {
        tokio::time::pause();
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        for drop_it in [false, true] {
            dropped.store(0, Relaxed);
            let cache =
                ExpiringCache::builder("large").expiry(Duration::from_secs(30)).capacity(100_000).build();
            for key in 0..20_000 {
                cache.insert(key, Arc::new(Counted(Arc::clone(&dropped))));
            }
            let mut cache = Some(cache);
            tokio::time::advance(Duration::from_secs(if drop_it { 1 } else { 31 })).await;
            if drop_it {
                cache = None;
            }
            let (mut last, mut most) = (dropped.load(Relaxed), 0);
            while dropped.load(Relaxed) < 20_000 {
                tokio::task::yield_now().await;
                let now = dropped.load(Relaxed);
                most = most.max(now - last);
                last = now;
            }
            assert!(most <= 512, "{most} in one go");
            drop(cache);
            settle().await;
        }
    });
    drop(runtime);
    support::nothing_is_left(&test);
}

#[test]
fn many_changes_of_few_entries_do_not_pile_up() {
    // What the schedule holds is seen by what is dropped: each record has a clone of the key.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Key(u32, Arc<()>);
    paused(|_| async {
        let alive = Arc::new(());
        let cache = typing().build();
        let key = |n| Key(n, Arc::clone(&alive));
        for n in 0..100_000 {
            cache.insert(key(n % 10), n);
            if n % 10 == 0 {
                cache.remove(&key(n % 10));
            }
            if n % 1_000 == 0 {
                settle().await;
                assert!(Arc::strong_count(&alive) < 10_000, "{}", Arc::strong_count(&alive));
            }
        }
        cache.clear();
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

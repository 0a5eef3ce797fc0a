//! What expires, when, and what is returned until then; capacity, listener, figures.
mod support;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext, testing};
use logcontext_cache::{CachedLookup, EvictionCause, ExpiringBuilder, ExpiringCache};
use support::figures::Figures;
use support::{here, on_both, paused, run, settle};
use tokio::sync::mpsc;
use tokio::time::advance;
use tracing::Level;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const MILLI: Duration = Duration::from_millis(1);

fn typing() -> ExpiringBuilder {
    ExpiringCache::builder("typing").expiry(secs(30)).capacity(1_000)
}

type Told = mpsc::UnboundedReceiver<(u32, String, EvictionCause, String)>;

/// A cache that notes what its listener is told, and where.
fn told(builder: ExpiringBuilder) -> (ExpiringCache<u32, String>, Told) {
    let (tell, told) = mpsc::unbounded_channel();
    let cache = builder.build_with_listener(move |key, value, cause| {
        let _ = tell.send((key, value, cause, here()));
    });
    (cache, told)
}

#[test]
fn an_entry_is_there_until_its_time_is_over_and_never_returned_after() {
    paused(|_| async {
        let cache = typing().build();
        cache.insert("alice", 1);
        cache.insert_with_expiry("bob", 2, secs(5));
        // Without letting the reaper have a turn.
        advance(secs(5) - MILLI).await;
        assert_eq!((cache.get("alice"), cache.get("bob")), (Some(1), Some(2)));
        advance(MILLI).await;
        assert_eq!((cache.get("alice"), cache.get("bob"), cache.peek("bob")), (Some(1), None, None));
        advance(secs(25)).await;
        assert_eq!((cache.get("alice"), cache.iter().count()), (None, 0));
    });
}

#[test]
fn what_has_expired_is_not_returned_even_if_nobody_has_removed_it() {
    // No runtime: nobody reaps, and the clock is the real one.
    let test = testing::start();
    let cache = typing().build();
    cache.insert_with_expiry("alice", 1, Duration::ZERO);
    assert_eq!(cache.len(), 1, "it is still there");
    assert_eq!((cache.get("alice"), cache.peek("alice"), cache.iter().count()), (None, None, 0));
    assert_eq!(cache.remove("alice"), None);
    cache.insert_with_expiry("alice", 1, Duration::ZERO);
    assert_eq!(cache.get_or_insert_with("alice", || 2), 2);
    assert_eq!(cache.get("alice"), Some(2));
    drop(cache);
    support::nothing_is_left(&test);
}

#[test]
fn it_is_removed_by_itself_soon_after() {
    paused(|_| async {
        let cache = typing().build();
        cache.insert(1, "a");
        advance(secs(10)).await;
        cache.insert(2, "b");
        cache.insert_with_expiry(3, "c", secs(1));
        tokio::time::sleep(Duration::from_millis(1_250)).await;
        assert_eq!(cache.len(), 2);
        tokio::time::sleep(secs(19)).await;
        assert_eq!(cache.len(), 1);
        tokio::time::sleep(secs(10)).await;
        assert!(cache.is_empty());
    });
}

#[test]
fn without_an_expiry_an_entry_stays_and_may_be_given_one() {
    paused(|_| async {
        let cache = ExpiringCache::builder("typing").build();
        cache.insert(1, "stays");
        cache.insert_with_expiry(2, "goes", secs(5));
        advance(secs(1_000_000)).await;
        assert_eq!((cache.get(&1), cache.get(&2)), (Some("stays"), None));
        cache.insert_with_expiry(1, "goes too", secs(5));
        tokio::time::sleep(secs(6)).await;
        assert!(cache.is_empty());
    });
}

#[test]
fn a_new_value_has_its_whole_time_and_a_shorter_one_is_kept_to() {
    paused(|_| async {
        let cache = typing().build();
        cache.insert(1, "old");
        advance(secs(20)).await;
        cache.insert(1, "new");
        tokio::time::sleep(secs(20)).await;
        assert_eq!(cache.get(&1), Some("new"), "the old one's time is not its own");
        cache.insert_with_expiry(1, "short", secs(1));
        tokio::time::sleep(Duration::from_millis(1_250)).await;
        assert!(cache.is_empty(), "and it goes in its own time");
        cache.insert_with_expiry(1, "long", secs(3_600));
        tokio::time::sleep(secs(3_599)).await;
        assert_eq!(cache.get(&1), Some("long"));
        tokio::time::sleep(secs(2)).await;
        assert!(cache.is_empty());
    });
}

#[test]
fn reading_gives_an_entry_its_whole_time_again_where_that_is_asked_for() {
    paused(|_| async {
        let cache = typing().renew_on_read().build();
        cache.insert(1, "read");
        cache.insert(2, "peeked");
        cache.insert_with_expiry(3, "short", secs(12));
        for _ in 0..10 {
            tokio::time::sleep(secs(10)).await;
            assert_eq!((cache.get(&1), cache.get(&3)), (Some("read"), Some("short")));
            cache.peek(&2);
        }
        assert_eq!((cache.get(&2), cache.len()), (None, 2));
        tokio::time::sleep(secs(13)).await;
        assert_eq!((cache.get(&3), cache.len()), (None, 1), "each by its own expiry");
        assert_eq!(cache.get_or_insert_with(1, || "made"), "read");
        tokio::time::sleep(secs(29)).await;
        assert_eq!(cache.peek(&1), Some("read"));
        tokio::time::sleep(secs(2)).await;
        assert!(cache.is_empty());

        let plain = ExpiringCache::builder("plain").expiry(secs(30)).build();
        plain.insert(1, "read");
        tokio::time::sleep(secs(20)).await;
        plain.get(&1);
        advance(secs(10)).await;
        assert_eq!(plain.get(&1), None, "not where it is not");
    });
}

#[test]
fn get_or_insert_with_makes_what_is_missing_once_and_anew_when_it_has_expired() {
    paused(|_| async {
        let cache = typing().build();
        assert_eq!(cache.get_or_insert_with(1, || "made"), "made");
        assert_eq!(cache.get_or_insert_with(1, || unreachable!()), "made");
        advance(secs(30)).await;
        assert_eq!(cache.get_or_insert_with(1, || "anew"), "anew");
        tokio::time::sleep(secs(29)).await;
        assert_eq!(cache.get(&1), Some("anew"));
        tokio::time::sleep(secs(2)).await;
        assert!(cache.is_empty());
    });
}

#[test]
fn of_threads_that_meet_one_makes_the_value_in_its_own_context() {
    let test = testing::start();
    let cache = typing().build();
    let made = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for n in 0..4 {
            let (cache, made, start) = (cache.clone(), &made, test.thread_start());
            #[expect(clippy::disallowed_methods, reason = "brings its context")]
            threads.spawn(move || {
                start();
                LogContext::new(format!("GET-{n}")).scope(|| {
                    for key in 0..100 {
                        let (value, by) = cache.get_or_insert_with(key, || {
                            made.fetch_add(1, Relaxed);
                            (key, here())
                        });
                        assert!(value == key && by.starts_with("GET-"));
                    }
                });
            });
        }
    });
    assert_eq!(made.load(Relaxed), 100);
}

#[test]
fn a_panic_while_a_value_is_made_leaves_nothing_behind() {
    support::short_panics();
    let _test = testing::start();
    let cache = typing().build();
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.get_or_insert_with(1, || panic!("out of luck"))
    }));
    assert!(made.is_err());
    assert_eq!(cache.get_or_insert_with(1, || "made"), "made");
}

#[test]
fn entries_are_removed_and_iterated_over() {
    on_both(|runtime, _| {
        run(runtime, async {
            let cache = typing().build();
            for key in 0..500 {
                cache.insert(key, key * 10);
            }
            let mut entries: Vec<_> = cache.iter().collect();
            entries.sort_unstable();
            assert_eq!(entries, (0..500).map(|key| (key, key * 10)).collect::<Vec<_>>());
            assert_eq!((cache.remove(&7), cache.remove(&7), cache.len()), (Some(70), None, 499));
            cache.clear();
            assert!(cache.is_empty() && cache.iter().next().is_none());
        });
    });
}

#[test]
fn a_full_cache_lets_go_what_is_not_read_and_never_holds_more() {
    on_both(|runtime, _| {
        run(runtime, async {
            let cache = ExpiringCache::builder("typing").expiry(secs(30)).capacity(10).build();
            for key in 0..1_000 {
                cache.insert(key, key);
                cache.get(&0);
                assert!(cache.len() <= 10);
            }
            assert_eq!(cache.get(&0), Some(0), "it was read again and again");
            assert_eq!(cache.get(&500), None);
        });
    });
}

#[test]
fn the_listener_is_told_of_every_entry_that_goes_and_why_in_the_caches_context() {
    paused(|_| async {
        let (cache, mut told) = told(typing().capacity(10));
        let request = LogContext::new("GET-1");
        async {
            cache.insert(1, "replaced".to_owned());
            cache.insert(1, "removed".to_owned());
            cache.remove(&1);
            cache.insert(2, "cleared".to_owned());
            cache.clear();
            cache.insert_with_expiry(3, "expired".to_owned(), secs(1));
            assert!(told.try_recv().is_err(), "not in the passing caller");
        }
        .in_context(request)
        .await;
        tokio::time::sleep(secs(2)).await;
        let seen: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        let expected = [
            (1, "replaced", EvictionCause::Replaced),
            (1, "removed", EvictionCause::Removed),
            (2, "cleared", EvictionCause::Removed),
            (3, "expired", EvictionCause::Expired),
        ]
        .map(|(key, value, cause)| (key, value.to_owned(), cause, "prune_cache-typing-0".to_owned()));
        assert_eq!(seen, expected);

        for key in 0..11 {
            cache.insert(key, "pushed out".to_owned());
        }
        settle().await;
        let (_, value, cause, place) = told.try_recv().unwrap();
        assert_eq!(
            (&*value, cause, &*place),
            ("pushed out", EvictionCause::Capacity, "prune_cache-typing-0")
        );
    });
}

#[test]
fn a_value_that_is_replaced_or_removed_after_its_time_has_expired() {
    paused(|_| async {
        let (cache, mut told) = told(typing());
        cache.insert(1, "a".to_owned());
        cache.insert(2, "b".to_owned());
        cache.insert(3, "c".to_owned());
        // The clock alone; nobody else has a turn before we are done.
        advance(secs(30) - MILLI).await;
        advance(MILLI).await;
        cache.insert(1, "new".to_owned());
        assert_eq!(cache.remove(&2), None);
        assert_eq!(cache.get_or_insert_with(3, || "new".to_owned()), "new");
        settle().await;
        let mut seen: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        seen.sort_by_key(|(key, ..)| *key);
        let causes: Vec<_> = seen.iter().map(|(key, value, cause, _)| (*key, &**value, *cause)).collect();
        let expired = EvictionCause::Expired;
        assert_eq!(causes, [(1, "a", expired), (2, "b", expired), (3, "c", expired)]);
    });
}

#[test]
fn a_listener_that_panics_is_reported_and_told_of_the_next() {
    on_both(|runtime, test| {
        run(runtime, async {
            let (tell, mut told) = mpsc::unbounded_channel();
            let cache = typing().build_with_listener(move |key: u32, (): (), _| {
                assert!(key > 1, "out of luck");
                let _ = tell.send(key);
            });
            for key in [1, 2] {
                cache.insert(key, ());
                cache.remove(&key);
            }
            assert_eq!(told.recv().await, Some(2));
        });
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].context.name(), "prune_cache-typing-0");
    });
}

#[test]
fn without_a_runtime_the_listener_is_told_in_a_context_of_the_caches_all_the_same() {
    let test = testing::start();
    let (cache, mut told) = told(typing());
    LogContext::new("GET-1").scope(|| {
        cache.insert(1, "a".to_owned());
        cache.remove(&1);
        assert_eq!(here(), "GET-1");
    });
    let (_, _, cause, place) = told.try_recv().unwrap();
    assert_eq!((cause, &*place), (EvictionCause::Removed, "prune_cache-typing"));
    drop(cache);
    support::nothing_is_left(&test);
}

#[test]
fn hits_misses_size_and_evictions_by_cause_are_counted() {
    paused(|test| {
        let supervisor = test.supervisor().clone();
        async move {
            let cache = typing().capacity(10).build();
            for key in 0..20 {
                cache.insert(key, ());
            }
            let size = cache.len() as f64;
            cache.insert(19, ());
            cache.get(&19);
            cache.get(&19);
            cache.get(&100);
            cache.get_or_insert_with(19, || ());
            cache.peek(&19);
            cache.remove(&19);
            cache.remove(&19);
            tokio::time::sleep(secs(31)).await;
            let figures = Figures::of(&supervisor);
            for (key, value) in [
                ("cache_hits,cache=typing", 3.0),
                ("cache_misses,cache=typing", 1.0),
                ("cache_size,cache=typing", 0.0),
                ("cache_capacity,cache=typing", 10.0),
                ("cache_evictions,cache=typing,cause=capacity", 20.0 - size),
                ("cache_evictions,cache=typing,cause=expired", size - 1.0),
                ("cache_evictions,cache=typing,cause=removed", 1.0),
                ("cache_evictions,cache=typing,cause=replaced", 1.0),
            ] {
                assert_eq!(figures.get(key), value, "{key}");
            }
        }
    });
}

#[test]
fn a_name_used_twice_is_numbered_whichever_kind_of_cache_has_it() {
    on_both(|_, test| {
        let lookup = CachedLookup::builder("typing").build(|key: u32| async move { Ok::<_, ()>(key) });
        let cache = typing().build::<u32, u32>();
        assert_eq!((lookup.name(), cache.name()), ("typing", "typing-2"));
        assert_eq!(test.take(DiagnosticKind::NameUsedTwice).len(), 1);
    });
}

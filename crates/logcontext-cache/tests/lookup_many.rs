//! Many keys at once; what caches count; their names.
mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_cache::{CachedLookup, LookupError};
use support::figures::Figures;
use support::{here, on_both, outcome, paused, run, settle, spawn};
use tokio::sync::Semaphore;

type Calls = Arc<Mutex<Vec<(Vec<u32>, String)>>>;

/// Users have even numbers. Answers when let; notes what it was asked and where.
fn users(gate: &Arc<Semaphore>) -> (CachedLookup<u32, String, String>, Calls) {
    let calls = Calls::default();
    let (noted, gate) = (Arc::clone(&calls), Arc::clone(gate));
    let cache =
        CachedLookup::builder("users").expiry(Duration::from_secs(30)).build_many(move |keys: Vec<u32>| {
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            noted.lock().unwrap().push((sorted, here()));
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                if keys.contains(&99) {
                    return Err("the database is down".to_owned());
                }
                let known = keys.into_iter().filter(|key| key % 2 == 0);
                Ok(known.map(|key| (key, format!("user {key}"))).collect::<HashMap<_, _>>())
            }
        });
    (cache, calls)
}

fn open_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1_000))
}

fn keys<V>(found: &HashMap<u32, V>) -> Vec<u32> {
    let mut keys: Vec<_> = found.keys().copied().collect();
    keys.sort_unstable();
    keys
}

#[test]
fn those_missing_go_to_one_call_and_absent_ones_are_remembered() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (cache, calls) = users(&open_gate());
            let request = LogContext::new("GET-1");
            async {
                let found = cache.get_many([4, 1, 2, 3, 2]).await.unwrap();
                assert_eq!((keys(&found), &**found[&4]), (vec![2, 4], "user 4"));
                assert_eq!(here(), "GET-1");
                let found = cache.get_many([1, 2, 3, 6]).await.unwrap();
                assert_eq!(keys(&found), [2, 6]);
                assert_eq!(cache.get_many([1, 3]).await.unwrap().len(), 0);
                assert_eq!(cache.get_many([]).await.unwrap().len(), 0);
                assert!(cache.find(3).await.unwrap().is_none());
                assert!(matches!(cache.get(3).await, Err(LookupError::Absent)));
                assert_eq!(**cache.find(8).await.unwrap().unwrap(), *"user 8");
            }
            .in_context(request)
            .await;
            let calls = calls.lock().unwrap();
            let place = || "GET-1-users".to_owned();
            assert_eq!(*calls, [(vec![1, 2, 3, 4], place()), (vec![6], place()), (vec![8], place())]);
        });
    });
}

#[test]
fn what_is_looked_up_already_is_waited_for_and_the_rest_goes_to_one_call() {
    on_both(|runtime, _| {
        run(runtime, async {
            let gate = Arc::new(Semaphore::new(0));
            let (cache, calls) = users(&gate);
            let [a, b, c] = ["GET-1", "GET-2", "GET-3"].map(LogContext::new);
            let ask = |context, keys: Vec<u32>| {
                let cache = cache.clone();
                spawn(context, async move {
                    (cache.get_many(keys).await.map(|found| self::keys(&found)).ok(), here())
                })
            };
            let one = ask(&a, vec![2, 4]);
            settle().await;
            support::until(|| calls.lock().unwrap().len() == 1).await;
            let two = ask(&b, vec![4, 6, 8]);
            support::until(|| calls.lock().unwrap().len() == 2).await;
            let three = ask(&c, vec![2, 8]);
            settle().await;
            gate.add_permits(2);
            assert_eq!(outcome(one).await, (Some(vec![2, 4]), "GET-1".to_owned()));
            assert_eq!(outcome(two).await, (Some(vec![4, 6, 8]), "GET-2".to_owned()));
            assert_eq!(outcome(three).await, (Some(vec![2, 8]), "GET-3".to_owned()));
            let calls: Vec<_> = calls.lock().unwrap().iter().map(|(keys, _)| keys.clone()).collect();
            assert_eq!(calls, [vec![2, 4], vec![6, 8]]);
        });
    });
}

#[test]
fn an_error_of_a_call_is_told_and_none_of_its_keys_is_kept() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (cache, _) = users(&open_gate());
            cache.get_many([2]).await.unwrap();
            let error = cache.get_many([2, 4, 99]).await.unwrap_err();
            assert_eq!(error.to_string(), "the database is down");
            assert_eq!(cache.len(), 1);
            assert_eq!(keys(&cache.get_many([2, 4]).await.unwrap()), [2, 4]);
        });
    });
}

#[test]
fn a_key_that_is_invalidated_during_a_call_is_not_kept_and_the_others_are() {
    on_both(|runtime, _| {
        run(runtime, async {
            let gate = Arc::new(Semaphore::new(0));
            let (cache, calls) = users(&gate);
            let asking = {
                let cache = cache.clone();
                spawn(
                    &LogContext::new("GET-1"),
                    async move { cache.get_many([2, 4, 5]).await.unwrap().len() },
                )
            };
            support::until(|| calls.lock().unwrap().len() == 1).await;
            cache.invalidate(&2);
            gate.add_permits(1);
            assert_eq!(outcome(asking).await, 2);
            assert!(cache.peek(&2).is_none() && cache.peek(&4).is_some());
            assert_eq!(cache.len(), 2, "the absent one is remembered");
        });
    });
}

#[test]
fn a_caller_of_many_who_goes_leaves_all_that_it_waited_for() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let gate = Arc::new(Semaphore::new(0));
            let (cache, calls) = users(&gate);
            let going = {
                let cache = cache.clone();
                spawn(&LogContext::new("GET-1"), async move { cache.get_many([2, 4]).await.is_ok() })
            };
            support::until(|| calls.lock().unwrap().len() == 1).await;
            let joined = {
                let cache = cache.clone();
                spawn(&LogContext::new("GET-2"), async move { cache.get_many([4, 6]).await.is_ok() })
            };
            support::until(|| calls.lock().unwrap().len() == 2).await;
            for asking in [going, joined] {
                asking.abort();
                assert!(asking.await.is_err());
            }
            support::until(|| supervisor.running().is_empty()).await;
            gate.add_permits(1);
            assert_eq!(cache.get_many([2, 4, 6]).await.unwrap().len(), 3);
        });
    });
}

#[test]
fn with_a_lookup_of_one_each_missing_key_has_its_own_at_once() {
    on_both(|runtime, _| {
        run(runtime, async {
            // Each waits until all three are there.
            let barrier = Arc::new(tokio::sync::Barrier::new(3));
            let cache = CachedLookup::builder("users").build(move |key: u32| {
                let barrier = Arc::clone(&barrier);
                async move {
                    barrier.wait().await;
                    Ok::<_, ()>(key * 10)
                }
            });
            let found = cache.get_many([1, 2, 3, 1]).await.unwrap();
            assert_eq!((keys(&found), *found[&3]), (vec![1, 2, 3], 30));
            assert_eq!(cache.len(), 3);
        });
    });
}

#[test]
fn absent_ones_expire_as_values_do() {
    paused(|_| async {
        let (cache, calls) = users(&open_gate());
        cache.get_many([1, 2]).await.unwrap();
        tokio::time::advance(Duration::from_secs(30)).await;
        cache.get_many([1, 2]).await.unwrap();
        assert_eq!(calls.lock().unwrap().len(), 2);
    });
}

#[test]
fn hits_waits_misses_size_evictions_and_lookups_are_counted() {
    paused(|test| {
        let supervisor = test.supervisor().clone();
        async move {
            let gate = Arc::new(Semaphore::new(0));
            let (cache, calls) = users(&gate);
            let figure = |key: &str| Figures::of(&supervisor).get(key);
            let asking: Vec<_> = (0..3)
                .map(|n| {
                    let cache = cache.clone();
                    spawn(&LogContext::new(format!("GET-{n}")), async move { cache.get(2).await.is_ok() })
                })
                .collect();
            support::until(|| calls.lock().unwrap().len() == 1).await;
            settle().await;
            assert_eq!(figure("cache_lookups_in_flight,cache=users"), 1.0);
            gate.add_permits(1_000);
            for asking in asking {
                assert!(outcome(asking).await);
            }
            cache.get_many([2, 1, 3]).await.unwrap();
            cache.get(99).await.unwrap_err();
            cache.invalidate(&1);
            cache.invalidate(&1);
            tokio::time::advance(Duration::from_secs(30)).await;
            cache.get(2).await.unwrap();
            for (key, value) in [
                ("cache_hits,cache=users", 1.0),
                ("cache_misses,cache=users", 5.0),
                ("cache_waits,cache=users", 2.0),
                ("cache_size,cache=users", 2.0),
                ("cache_capacity,cache=users", 10_000.0),
                ("cache_evictions,cache=users,cause=invalidated", 1.0),
                ("cache_evictions,cache=users,cause=expired", 1.0),
                ("cache_evictions,cache=users,cause=capacity", 0.0),
                ("cache_lookups_in_flight,cache=users", 0.0),
                ("cache_lookups,cache=users,outcome=ok", 3.0),
                ("cache_lookups,cache=users,outcome=failed", 1.0),
                ("cache_lookup_seconds,cache=users", 4.0),
            ] {
                assert_eq!(figure(key), value, "{key}");
            }
        }
    });
}

#[test]
fn a_full_cache_forgets_what_is_not_asked_for_and_counts_it() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let cache =
                CachedLookup::builder("users").capacity(10).build(|key: u32| async move { Ok::<_, ()>(key) });
            for key in 0..100 {
                cache.get(0).await.unwrap();
                cache.get(key).await.unwrap();
                assert!(cache.len() <= 10);
            }
            assert!(cache.peek(&0).is_some(), "it was asked for again and again");
            assert!(Figures::of(&supervisor).get("cache_evictions,cache=users,cause=capacity") >= 89.0);
        });
    });
}

#[test]
fn with_no_capacity_nothing_is_kept_and_lookups_are_shared_all_the_same() {
    on_both(|runtime, _| {
        run(runtime, async {
            let gate = Arc::new(Semaphore::new(0));
            let wait = Arc::clone(&gate);
            let calls = Arc::new(Mutex::new(0));
            let counted = Arc::clone(&calls);
            let cache = CachedLookup::builder("users").capacity(0).build(move |key: u32| {
                *counted.lock().unwrap() += 1;
                let wait = Arc::clone(&wait);
                async move {
                    wait.acquire().await.unwrap().forget();
                    Ok::<_, ()>(key)
                }
            });
            gate.add_permits(1);
            let (a, b) = tokio::join!(cache.get(1), cache.get(1));
            assert_eq!((*a.unwrap(), *b.unwrap(), cache.len()), (1, 1, 0));
            gate.add_permits(1);
            cache.get(1).await.unwrap();
            assert_eq!(*calls.lock().unwrap(), 2);
        });
    });
}

#[test]
fn a_name_used_twice_is_numbered_and_raises_a_diagnostic() {
    on_both(|_, test| {
        let make = || CachedLookup::builder("users").build(|key: u32| async move { Ok::<_, ()>(key) });
        let (first, second) = (make(), make());
        assert_eq!((first.name(), second.name()), ("users", "users-2"));
        let reports = test.take(DiagnosticKind::NameUsedTwice);
        assert_eq!(reports.len(), 1);
        assert!(reports[0].origin.unwrap().file().ends_with("lookup_many.rs"));
        drop((first, second));
        assert_eq!(make().name(), "users", "free again");
        let elsewhere = Supervisor::new("elsewhere");
        let (here, there) = (make(), CachedLookup::builder("users").supervisor(&elsewhere));
        let there = there.build(|key: u32| async move { Ok::<_, ()>(key) });
        assert_eq!((here.name(), there.name()), ("users", "users"), "services do not meet");
        assert_eq!((test.supervisor().sources().len(), elsewhere.sources().len()), (1, 1));
    });
}

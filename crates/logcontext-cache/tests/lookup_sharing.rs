//! Callers that meet share one lookup; what becomes of it when they go, when it fails, when it is invalidated.
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use logcontext::testing;
use logcontext::{FutureExt, LogContext, current_context};
use logcontext_cache::{CachedLookup, LookupError};
use support::{Desk, here, on_both, outcome, paused, run, settle, spawn, until};
use tokio::sync::{Semaphore, oneshot};
use tracing::Level;

type Reply = Result<String, Unclonable>;

/// An error that cannot be cloned.
#[derive(Debug)]
struct Unclonable(&'static str);

impl std::fmt::Display for Unclonable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

fn requests<const N: usize>() -> [LogContext; N] {
    std::array::from_fn(|n| LogContext::new(format!("GET-{n}")))
}

fn desk() -> (Desk<Reply>, CachedLookup<u32, String, Unclonable>) {
    let desk = Desk::new();
    let cache = CachedLookup::builder("profiles").capacity(100).build(desk.lookup());
    (desk, cache)
}

/// Asks in this context, and says where it came back.
async fn ask(
    cache: CachedLookup<u32, String, Unclonable>,
    key: u32,
) -> (Result<Arc<String>, LookupError<Unclonable>>, String) {
    let answer = cache.get(key).await;
    (answer, here())
}

#[test]
fn callers_that_meet_share_one_lookup_and_each_comes_back_in_its_own_context() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (mut desk, cache) = desk();
            let callers = requests::<5>();
            let asking: Vec<_> = callers.iter().map(|caller| spawn(caller, ask(cache.clone(), 7))).collect();
            let asked = desk.next().await;
            settle().await;
            desk.assert_idle();
            asked.answer.send(Ok("alice".to_owned())).unwrap();
            for (asking, caller) in asking.into_iter().zip(&callers) {
                let (answer, place) = outcome(asking).await;
                assert_eq!((&**answer.unwrap(), &*place), ("alice", caller.name()));
            }
            // And a hit.
            let (hit, place) = ask(cache.clone(), 7).in_context(callers[3].clone()).await;
            assert_eq!((&**hit.unwrap(), &*place), ("alice", "GET-3"));
            desk.assert_idle();
        });
    });
}

#[test]
fn keys_are_looked_up_apart() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (mut desk, cache) = desk();
            let [a, b] = requests();
            let (one, two) = (spawn(&a, ask(cache.clone(), 1)), spawn(&b, ask(cache.clone(), 2)));
            for _ in 0..2 {
                let asked = desk.next().await;
                asked.answer.send(Ok(format!("user {}", asked.key))).unwrap();
            }
            assert_eq!(*outcome(one).await.0.unwrap(), "user 1");
            assert_eq!(*outcome(two).await.0.unwrap(), "user 2");
            assert_eq!(cache.len(), 2);
        });
    });
}

#[test]
fn a_hit_gives_the_executor_no_turn() {
    on_both(|runtime, _| {
        run(runtime, async {
            let cache = CachedLookup::builder("profiles").build(|key: u32| async move { Ok::<_, ()>(key) });
            cache.get(1).await.unwrap();
            let mut hit = Box::pin(cache.get(1));
            assert!(hit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        });
    });
}

#[test]
fn a_cancelled_caller_comes_back_in_its_context_and_harms_nobody() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (mut desk, cache) = desk();
            let [first, second, third] = requests();
            let going = spawn(&first, ask(cache.clone(), 7));
            let asked = desk.next().await;
            let staying = spawn(&second, ask(cache.clone(), 7));
            let timing_out = {
                let cache = cache.clone();
                spawn(&third, async move {
                    let mut asking = Box::pin(cache.get(7));
                    assert!(futures_util::poll!(asking.as_mut()).is_pending());
                    drop(asking);
                    here()
                })
            };
            assert_eq!(outcome(timing_out).await, "GET-2");
            settle().await;
            going.abort();
            assert!(going.await.is_err());
            settle().await;
            assert!(!asked.answer.is_closed(), "the lookup goes on");
            asked.answer.send(Ok("alice".to_owned())).unwrap();
            let (answer, place) = outcome(staying).await;
            assert_eq!((&**answer.unwrap(), &*place), ("alice", "GET-1"));
            desk.assert_idle();
        });
    });
}

#[test]
fn when_all_have_gone_the_lookup_is_cancelled_and_the_next_one_asks_anew() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let (mut desk, cache) = desk();
            let callers = requests::<2>();
            let asking = callers.each_ref().map(|caller| spawn(caller, ask(cache.clone(), 7)));
            let mut asked = desk.next().await;
            settle().await;
            for asking in asking {
                asking.abort();
                assert!(asking.await.is_err());
            }
            // Before the cancelled lookup is gone: nobody joins that.
            let again = spawn(&callers[0], ask(cache.clone(), 7));
            asked.answer.closed().await;
            desk.next().await.answer.send(Ok("anew".to_owned())).unwrap();
            assert_eq!(*outcome(again).await.0.unwrap(), "anew");
            until(|| supervisor.running().is_empty()).await;
        });
    });
}

#[test]
fn when_all_have_gone_the_lookup_finishes_if_that_is_asked_for() {
    on_both(|runtime, _| {
        run(runtime, async {
            let mut desk = Desk::<Result<u32, ()>>::new();
            let cache = CachedLookup::builder("profiles").finish_unattended().build(desk.lookup());
            let [caller] = requests();
            let asking = {
                let cache = cache.clone();
                spawn(&caller, async move { cache.get(7).await })
            };
            let asked = desk.next().await;
            asking.abort();
            assert!(asking.await.is_err());
            settle().await;
            asked.answer.send(Ok(70)).unwrap();
            until(|| cache.peek(&7).is_some()).await;
            assert_eq!(*cache.get(7).await.unwrap(), 70);
            desk.assert_idle();
        });
    });
}

#[test]
fn an_error_reaches_every_waiter_without_being_cloned_and_is_not_kept() {
    on_both(|runtime, test| {
        run(runtime, async {
            let (mut desk, cache) = desk();
            let callers = requests::<3>();
            let asking = callers.each_ref().map(|caller| spawn(caller, ask(cache.clone(), 7)));
            let asked = desk.next().await;
            settle().await;
            asked.answer.send(Err(Unclonable("no such user"))).unwrap();
            let mut errors = Vec::new();
            for (asking, caller) in asking.into_iter().zip(&callers) {
                let (answer, place) = outcome(asking).await;
                assert_eq!(place, caller.name());
                let error = answer.unwrap_err();
                assert_eq!(
                    (error.to_string(), error.failure().unwrap().0),
                    ("no such user".to_owned(), "no such user")
                );
                let LookupError::Failed(error) = error else { panic!("{error:?}") };
                errors.push(error);
            }
            assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])), "one error for all");
            assert!(cache.is_empty());
            let again = spawn(&callers[0], ask(cache.clone(), 7));
            desk.next().await.answer.send(Ok("alice".to_owned())).unwrap();
            assert_eq!(*outcome(again).await.0.unwrap(), "alice");
        });
        assert!(test.records_at(Level::ERROR).is_empty(), "it is the callers' to report");
    });
}

#[test]
fn errors_are_kept_where_that_is_asked_for_and_for_as_long() {
    paused(|_| async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let cache = CachedLookup::builder("profiles")
            .expiry(Duration::from_secs(100))
            .error_expiry(Duration::from_secs(10))
            .build(move |_: u32| {
                let call = counted.fetch_add(1, Relaxed);
                async move { if call < 2 { Err(call) } else { Ok(call) } }
            });
        assert_eq!(cache.get(1).await.unwrap_err().failure(), Some(&0));
        assert_eq!(cache.get(1).await.unwrap_err().failure(), Some(&0), "kept");
        assert!(cache.peek(&1).is_none());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(cache.get(1).await.unwrap_err().failure(), Some(&1));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(*cache.get(1).await.unwrap(), 2);
        tokio::time::advance(Duration::from_secs(99)).await;
        assert_eq!(*cache.get(1).await.unwrap(), 2, "a value has its own expiry");
        assert_eq!(calls.load(Relaxed), 3);
    });
}

#[test]
fn a_panic_is_an_error_to_all_logged_once_in_the_payers_context_and_not_kept() {
    on_both(|runtime, test| {
        run(runtime, async {
            let gate = Arc::new(Semaphore::new(0));
            let (wait, calls) = (Arc::clone(&gate), AtomicUsize::new(0));
            let cache = CachedLookup::builder("profiles").error_expiry(Duration::from_secs(60)).build(
                move |_: u32| {
                    let (wait, call) = (Arc::clone(&wait), calls.fetch_add(1, Relaxed));
                    async move {
                        wait.acquire().await.unwrap().forget();
                        assert!(call > 0, "out of luck");
                        Ok::<_, Unclonable>("alice".to_owned())
                    }
                },
            );
            let callers = requests::<3>();
            let asking = callers.each_ref().map(|caller| spawn(caller, ask(cache.clone(), 7)));
            settle().await;
            gate.add_permits(1);
            for asking in asking {
                let (answer, place) = outcome(asking).await;
                let error = answer.unwrap_err();
                assert_eq!(error.to_string(), "the lookup panicked: out of luck");
                assert!(place.starts_with("GET-"), "{place}");
            }
            gate.add_permits(1);
            assert_eq!(*cache.get(7).await.unwrap(), "alice");
        });
        let errors = test.records_at(Level::ERROR);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].message.contains("out of luck"));
        assert!(errors[0].context.name().ends_with("-profiles"), "{}", errors[0].context);
    });
}

#[test]
fn a_panic_before_there_is_a_future_is_the_same() {
    on_both(|runtime, test| {
        run(runtime, async {
            let cache = CachedLookup::builder("profiles").build(|key: u32| {
                assert!(key > 0, "no such thing as zero");
                async move { Ok::<_, ()>(key) }
            });
            assert!(matches!(cache.get(0).await, Err(LookupError::Panicked(_))));
            assert_eq!(*cache.get(1).await.unwrap(), 1);
        });
        assert_eq!(test.records_at(Level::ERROR).len(), 1);
    });
}

#[test]
fn what_is_invalidated_while_it_is_looked_up_is_told_to_those_who_wait_and_not_kept() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (mut desk, cache) = desk();
            let [early, late] = requests();
            let before = spawn(&early, ask(cache.clone(), 7));
            let old = desk.next().await;
            assert!(!cache.invalidate(&7));
            // From now on nobody gets what may be of before.
            let after = spawn(&late, ask(cache.clone(), 7));
            let new = desk.next().await;
            new.answer.send(Ok("new".to_owned())).unwrap();
            assert_eq!(*outcome(after).await.0.unwrap(), "new");
            old.answer.send(Ok("old".to_owned())).unwrap();
            assert_eq!(*outcome(before).await.0.unwrap(), "old");
            assert_eq!(*cache.get(7).await.unwrap(), "new");
            assert!(cache.invalidate(&7));
            assert!(cache.is_empty());
            desk.assert_idle();
        });
    });
}

#[test]
fn invalidating_all_and_inserting_do_the_same_to_what_is_looked_up() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (mut desk, cache) = desk();
            let [early] = requests();
            cache.insert(1, "one".to_owned());
            let before = spawn(&early, ask(cache.clone(), 7));
            let old = desk.next().await;
            cache.invalidate_all();
            assert!(cache.is_empty());
            old.answer.send(Ok("old".to_owned())).unwrap();
            assert_eq!(*outcome(before).await.0.unwrap(), "old");
            assert!(cache.is_empty());

            let before = spawn(&early, ask(cache.clone(), 7));
            let old = desk.next().await;
            cache.insert(7, "inserted".to_owned());
            assert_eq!(*cache.get(7).await.unwrap(), "inserted");
            old.answer.send(Ok("old".to_owned())).unwrap();
            assert_eq!(*outcome(before).await.0.unwrap(), "old");
            assert_eq!(*cache.get(7).await.unwrap(), "inserted");
        });
    });
}

#[test]
fn what_has_expired_is_looked_up_again() {
    paused(|_| async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let cache = CachedLookup::builder("profiles").expiry(Duration::from_secs(30)).build(move |_: u32| {
            let call = counted.fetch_add(1, Relaxed);
            async move { Ok::<_, ()>(call) }
        });
        assert_eq!(*cache.get(1).await.unwrap(), 0);
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert_eq!(*cache.get(1).await.unwrap(), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cache.peek(&1).is_none());
        assert_eq!(*cache.get(1).await.unwrap(), 1);
    });
}

/// Notes in which contexts it is called.
struct Noting(std::sync::Mutex<Vec<String>>);

impl Wake for Noting {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().push(here());
    }
}

#[test]
fn waiters_are_woken_in_nobodys_context() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (mut desk, cache) = desk();
            let [payer, waiter] = requests();
            let paying = spawn(&payer, ask(cache.clone(), 7));
            let asked = desk.next().await;
            let noting = Arc::new(Noting(std::sync::Mutex::default()));
            let mut waiting = Box::pin(ask(cache.clone(), 7).in_context(waiter));
            let waker = Waker::from(Arc::clone(&noting));
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            asked.answer.send(Ok("alice".to_owned())).unwrap();
            outcome(paying).await.0.unwrap();
            until(|| !noting.0.lock().unwrap().is_empty()).await;
            assert_eq!(*noting.0.lock().unwrap(), ["sentinel"]);
            assert_eq!(waiting.await.1, "GET-1");
        });
    });
}

#[test]
fn without_a_runtime_a_cache_is_made_and_answers_what_it_has() {
    support::short_panics();
    let test = testing::start();
    let cache = CachedLookup::builder("profiles").build(|key: u32| async move { Ok::<_, ()>(key) });
    let poll = |key: u32| {
        let mut asking = Box::pin(cache.get(key));
        asking.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    assert!(matches!(poll(1), std::task::Poll::Ready(Err(LookupError::NoRuntime))));
    assert!(matches!(poll(1), std::task::Poll::Ready(Err(LookupError::NoRuntime))), "nothing is left of it");
    cache.insert(1, 10);
    assert!(matches!(poll(1), std::task::Poll::Ready(Ok(value)) if *value == 10));
    drop(cache);
    support::nothing_is_left(&test);
}

#[test]
fn a_lookup_whose_runtime_ends_is_begun_again_by_those_who_wait_elsewhere() {
    support::short_panics();
    let test = testing::start();
    let (first, second) = (test.current_thread(), test.multi_thread(1));
    let (mut desk, cache) = desk();
    let [a, b] = requests();
    let going = first.block_on(async {
        let going = spawn(&a, ask(cache.clone(), 7));
        let asked = desk.next().await;
        (going, asked)
    });
    let mut staying = None;
    second.block_on(async {
        staying = Some(spawn(&b, ask(cache.clone(), 7)));
        settle().await;
    });
    drop(first);
    assert!(going.1.answer.is_closed());
    let answer = second.block_on(async {
        let asked = desk.next().await;
        asked.answer.send(Ok("again".to_owned())).unwrap();
        outcome(staying.expect("asked above")).await
    });
    assert_eq!((&**answer.0.unwrap(), &*answer.1), ("again", "GET-1"));
    drop((going, second, cache, desk, a, b));
    support::nothing_is_left(&test);
}

#[test]
fn a_shutdown_waits_for_lookups_and_cancels_them_at_its_deadline() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let (mut desk, cache) = desk();
            // In the sentinel, so that nothing but the lookup is in the shutdown's way.
            let (tell, told) = oneshot::channel();
            let asking = {
                let cache = cache.clone();
                #[expect(clippy::disallowed_methods, reason = "not to be waited for")]
                tokio::spawn(async move { drop(tell.send(cache.get(7).await)) })
            };
            let asked = desk.next().await;
            let shutdown = supervisor.shutdown(Duration::from_millis(50)).await;
            assert_eq!(shutdown.aborted.len(), 1);
            assert_eq!(shutdown.aborted[0].context.name(), "lookup_profiles");
            assert!(matches!(told.await.unwrap(), Err(LookupError::ShuttingDown)));
            assert!(asked.answer.is_closed());
            asking.await.unwrap();
            assert!(matches!(cache.get(8).await, Err(LookupError::ShuttingDown)));
            cache.insert(8, "known".to_owned());
            assert_eq!(*cache.get(8).await.unwrap(), "known", "what is known is answered");
        });
    });
}

#[test]
fn a_caller_in_no_context_may_ask_and_stays_in_none() {
    on_both(|runtime, _| {
        run(runtime, async {
            let cache = CachedLookup::builder("profiles").build(|_: u32| async move { Ok::<_, ()>(here()) });
            assert_eq!(*cache.get(1).await.unwrap(), "lookup_profiles-0");
            assert!(current_context().is_sentinel());
        });
    });
}

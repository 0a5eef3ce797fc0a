//! Crowds, threads, shutdowns, and code of others in odd places: nothing hangs, nothing is left.

mod support;

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use logcontext::{FutureExt, LogContext, preserve_fn};
use logcontext_cache::{KeyedRwLock, Linearizer, Turn};
use support::keyed::{at_once, context, on_both, paused, poll_once, until};

const CROWD: usize = 10_000;

#[test]
fn ten_thousand_waiters_take_their_turns_on_a_small_stack() {
    let test = logcontext::testing::start();
    let start = test.thread_start();
    #[expect(clippy::disallowed_methods, reason = "a thread with a stack of its own, which knows no context")]
    let thread = std::thread::Builder::new().stack_size(192 * 1024).spawn(move || {
        start();
        let rooms = Linearizer::<u64>::new("rooms");
        let turn = at_once(rooms.queue(1));
        let order = Mutex::new(Vec::new());
        let body = async {
            let waiters: FuturesUnordered<_> = (0..CROWD)
                .map(|number| {
                    let (rooms, order) = (&rooms, &order);
                    async move {
                        let _turn = rooms.queue(1).await;
                        order.lock().unwrap().push(number);
                    }
                })
                .collect();
            let ((), ()) = tokio::join!(waiters.collect(), async { drop(turn) });
        };
        let body = body.in_context(LogContext::new("crowd"));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(body);
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), CROWD);
        // They came in the order in which they were first polled, which is the set's business.
        assert_eq!(rooms.keys_in_use(), 0);

        // And they leave without a turn: from the front, so that each passes it on to the next.
        let turn = at_once(rooms.queue(1));
        let mut waiters: Vec<_> = (0..CROWD).map(|_| rooms.queue(1)).collect();
        waiters.iter_mut().for_each(|waiter| assert!(poll_once(waiter).is_pending()));
        drop(turn);
        drop(waiters);
        assert_eq!(rooms.keys_in_use(), 0);
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn ten_thousand_tasks_take_their_turns_one_by_one() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let (inside, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let request = context(test, "crowd");
        let turn = at_once(rooms.queue(1));
        for _ in 0..CROWD {
            let (rooms, inside, done) = (rooms.clone(), Arc::clone(&inside), Arc::clone(&done));
            drop(request.run_in_background(async move {
                let _turn = rooms.queue(1).await;
                assert_eq!(inside.fetch_add(1, SeqCst), 0);
                assert_eq!(inside.fetch_sub(1, SeqCst), 1);
                done.fetch_add(1, SeqCst);
            }));
        }
        until("all wait", || rooms.waiting().len() == CROWD).await;
        drop(turn);
        until("all had their turn", || done.load(SeqCst) == CROWD).await;
        until("all have ended", || rooms.keys_in_use() == 0).await;
    });
}

#[test]
fn a_storm_of_tasks_that_come_wait_leave_and_are_aborted_leaves_nothing() {
    on_both(async |test| {
        let (rooms, lock) = (Linearizer::<u64>::new("rooms"), KeyedRwLock::<u64>::new("rooms"));
        let inside: Arc<[AtomicUsize; 8]> = Arc::default();
        let mut tasks = Vec::new();
        for number in 0..400_usize {
            let (rooms, lock, inside) = (rooms.clone(), lock.clone(), Arc::clone(&inside));
            let key = number as u64 % 4;
            tasks.push(context(test, "storm").run_in_background(async move {
                for round in 0..5 {
                    let give_up = async {
                        for _ in 0..(number + round) % 7 {
                            tokio::task::yield_now().await;
                        }
                    };
                    let work = async {
                        let _turn = rooms.queue(key).await;
                        assert_eq!(inside[key as usize].fetch_add(1, SeqCst), 0);
                        let _inside = Leaves(&inside[key as usize], 1);
                        tokio::task::yield_now().await;
                        drop(lock.read(key).await);
                        let _writing = lock.write(key).await;
                        assert_eq!(inside[4 + key as usize].fetch_add(1, SeqCst), 0);
                        let _writes = Leaves(&inside[4 + key as usize], 1);
                        tokio::task::yield_now().await;
                    };
                    if number % 3 == 0 {
                        tokio::select! { () = work => {}, () = give_up => {} }
                    } else {
                        work.await;
                    }
                }
            }));
        }
        for task in tasks.iter().step_by(5) {
            tokio::task::yield_now().await;
            task.abort();
        }
        for task in tasks {
            match task.await {
                Ok(()) | Err(logcontext::Lost::Cancelled) => {}
                Err(lost) => panic!("{lost}"),
            }
        }
        assert!(inside.iter().all(|count| count.load(SeqCst) == 0));
        assert_eq!((rooms.keys_in_use(), lock.keys_in_use()), (0, 0));
        drop((rooms, lock));
        until("nothing runs", || test.supervisor().running().is_empty()).await;
    });
}

/// Counts down when it is dropped.
struct Leaves<'a>(&'a AtomicUsize, usize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, SeqCst);
    }
}

#[test]
fn a_turn_dropped_on_another_thread_wakes_the_next() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let (holder, waiter) = (context(test, "holder"), context(test, "waiter"));
        let turn = rooms.queue(1).in_context(holder.clone()).await;
        let waiting = waiter.run_in_background({
            let rooms = rooms.clone();
            async move { drop(rooms.queue(1).await) }
        });
        until("it waits", || !rooms.waiting().is_empty()).await;
        let (start, body) = (test.thread_start(), holder.scope(|| preserve_fn(move || drop(turn))));
        #[expect(clippy::disallowed_methods, reason = "the body brings its context")]
        let thread = std::thread::spawn(move || {
            start();
            body();
            assert!(logcontext::current_context().is_sentinel());
        });
        waiting.await.unwrap();
        thread.join().unwrap();
        assert_eq!(rooms.keys_in_use(), 0);
    });
}

#[test]
fn a_waiter_that_moves_to_another_task_is_woken_there() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let turn = at_once(rooms.queue(1));
        let mut waiter = rooms.queue(1);
        assert!(poll_once(&mut waiter).is_pending());
        let (tell, told) = tokio::sync::oneshot::channel();
        let moved = context(test, "moved").run_in_background(async move {
            assert!(poll_once(&mut waiter).is_pending());
            let waiting = async { drop(waiter.await) };
            tokio::join!(waiting, async { tell.send(()).unwrap() });
        });
        told.await.unwrap();
        drop(turn);
        moved.await.unwrap();
        assert_eq!(rooms.keys_in_use(), 0);
    });
}

/// Panics when it is to wake somebody.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_from_being_woken() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    on_both(async |test| {
        let lock = KeyedRwLock::<u64>::new("purges");
        let writing = at_once(lock.write(1));
        let mut broken = lock.read(1);
        let waker = Waker::from(Arc::new(Broken));
        assert!(std::pin::Pin::new(&mut broken).poll(&mut Context::from_waker(&waker)).is_pending());
        let others = [1, 2, 3].map(|_| {
            let lock = lock.clone();
            context(test, "other").run_in_background(async move { drop(lock.read(1).await) })
        });
        until("they wait", || lock.waiting().len() == 4).await;
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(writing)));
        assert!(dropped.is_err());
        for other in others {
            other.await.unwrap();
        }
        drop(broken);
        assert_eq!(lock.keys_in_use(), 0);
    });
}

#[test]
fn a_shutdown_waits_for_nobody_who_waits_for_ever() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(Duration::from_secs(3600)).build();
        let turn = at_once(rooms.queue(1));
        // The one who watches the waits ends at once, and nobody else runs.
        let mut waiter = rooms.queue(1);
        assert!(poll_once(&mut waiter).is_pending());
        let running = test.supervisor().running();
        assert_eq!(running.len(), 1, "{running:?}");
        assert_eq!(running[0].context.name(), "watch_keyed_waits-rooms-0");
        let shutdown = test.supervisor().shutdown(Duration::from_secs(10)).await;
        assert!(shutdown.aborted.is_empty(), "{shutdown:?}");
        // What is still under way takes its turns all the same.
        let mut another = rooms.queue(1);
        assert!(poll_once(&mut another).is_pending());
        assert!(test.supervisor().running().is_empty());
        drop(turn);
        drop(at_once(waiter));
        drop(at_once(another));
        assert_eq!(rooms.keys_in_use(), 0);
    });
}

#[test]
fn a_waiter_that_a_shutdown_aborts_leaves_the_queue() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let _turn = at_once(rooms.queue(1));
        drop(context(test, "waiter").run_in_background({
            let rooms = rooms.clone();
            async move { drop(rooms.queue(1).await) }
        }));
        until("it waits", || !rooms.waiting().is_empty()).await;
        let shutdown = test.supervisor().shutdown(Duration::from_millis(1)).await;
        assert_eq!(shutdown.aborted.len(), 1);
        assert!(rooms.waiting().is_empty());
        assert_eq!(rooms.holders().len(), 1);
    });
}

#[test]
fn a_queue_that_is_gone_has_no_task() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(Duration::from_secs(3600)).build();
        let turn = at_once(rooms.queue(1));
        let mut waiter = rooms.queue(1);
        assert!(poll_once(&mut waiter).is_pending());
        assert_eq!(test.supervisor().running().len(), 1);
        drop(rooms);
        // Whoever waits keeps it.
        drop(turn);
        drop(at_once(waiter));
        until("nothing runs", || test.supervisor().running().is_empty()).await;
        assert!(test.supervisor().sources().is_empty());
    });
}

#[test]
fn nobody_watches_where_nobody_waits() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(Duration::from_secs(5)).build();
        let turn = at_once(rooms.queue(1));
        assert!(test.supervisor().running().is_empty());
        let mut waiter = rooms.queue(1);
        assert!(poll_once(&mut waiter).is_pending());
        let mut other = rooms.queue(1);
        assert!(poll_once(&mut other).is_pending());
        assert_eq!(test.supervisor().running().len(), 1);
        drop((other, turn));
        drop(at_once(waiter));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(test.supervisor().running().is_empty());
    });
}

#[test]
fn a_queue_outlives_the_runtime_that_it_was_used_in() {
    let test = logcontext::testing::start();
    let rooms = Linearizer::<u64>::new("rooms");
    let request = context(&test, "PUT-1");
    let turn: Turn<u64> = at_once(rooms.queue(1));
    for runtime in [test.current_thread(), test.multi_thread(2)] {
        let mine = rooms.clone();
        runtime.block_on(async {
            drop(request.run_in_background(async move { drop(mine.queue(1).await) }));
            until("it waits", || !rooms.waiting().is_empty()).await;
            until("the waiter, and who watches it", || test.supervisor().running().len() == 2).await;
        });
        drop(runtime);
        assert!(rooms.waiting().is_empty());
        assert!(test.supervisor().running().is_empty());
    }
    drop(turn);
    assert_eq!(rooms.keys_in_use(), 0);
}

/// All keys in one place of the table. When one is dropped, it looks at the queue that it was a key of.
#[derive(Clone)]
struct Odd(u32, Arc<Mutex<Option<Linearizer<Odd>>>>, Arc<AtomicBool>);

impl PartialEq for Odd {
    fn eq(&self, other: &Self) -> bool {
        assert!(!self.2.load(SeqCst), "keys that panic when they are compared");
        self.0 == other.0
    }
}

impl Eq for Odd {}

impl Hash for Odd {
    fn hash<H: Hasher>(&self, state: &mut H) {
        7.hash(state);
    }
}

impl std::fmt::Debug for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        let rooms = self.1.lock().unwrap().clone();
        if let Some(rooms) = rooms {
            rooms.keys_in_use();
        }
    }
}

#[test]
fn keys_of_one_hash_are_kept_apart_and_no_lock_is_held_while_one_is_dropped() {
    let _test = logcontext::testing::start();
    let rooms = Linearizer::<Odd>::new("rooms");
    let cell = Arc::new(Mutex::new(Some(rooms.clone())));
    let key = |number| Odd(number, Arc::clone(&cell), Arc::default());
    let turns: Vec<_> = (0..100).map(|number| at_once(rooms.queue(key(number)))).collect();
    assert_eq!(rooms.keys_in_use(), 100);
    assert!((0..100).all(|number| rooms.try_queue(key(number)).is_none()));
    let mut waiter = rooms.queue(key(3));
    assert!(poll_once(&mut waiter).is_pending());
    drop(turns);
    assert_eq!(rooms.keys_in_use(), 1);
    drop(at_once(waiter));
    assert_eq!(rooms.keys_in_use(), 0);
    drop(cell.lock().unwrap().take());
}

#[test]
fn a_key_that_panics_when_it_is_compared_leaves_the_queue_in_service() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let _test = logcontext::testing::start();
    let rooms = Linearizer::<Odd>::new("rooms");
    let panics = Arc::new(AtomicBool::new(false));
    let key = || Odd(1, Arc::default(), Arc::clone(&panics));
    let turn = at_once(rooms.queue(key()));
    panics.store(true, SeqCst);
    let attempt = std::panic::AssertUnwindSafe(|| drop(poll_once(&mut rooms.queue(key()))));
    assert!(std::panic::catch_unwind(attempt).is_err());
    panics.store(false, SeqCst);
    assert!(rooms.try_queue(key()).is_none());
    drop(turn);
    assert!(rooms.try_queue(key()).is_some());
    assert_eq!(rooms.keys_in_use(), 0);
}

/// Looks at the lock when it wakes somebody.
struct Nosy(KeyedRwLock<u64>, AtomicUsize);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(self.0.holders().len(), SeqCst);
    }
}

#[test]
fn no_lock_is_held_while_somebody_is_woken() {
    let _test = logcontext::testing::start();
    let lock = KeyedRwLock::<u64>::new("purges");
    let nosy = Arc::new(Nosy(lock.clone(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&nosy));
    let writing = at_once(lock.write(1));
    let mut readers = [lock.read(1), lock.read(1), lock.read(1)];
    for reader in &mut readers {
        assert!(matches!(std::pin::pin!(reader).poll(&mut Context::from_waker(&waker)), Poll::Pending));
    }
    drop(writing);
    // Each of the three wakes saw all three inside.
    assert_eq!(nosy.1.load(SeqCst), 9);
    drop(readers);
    assert_eq!(lock.keys_in_use(), 0);
}

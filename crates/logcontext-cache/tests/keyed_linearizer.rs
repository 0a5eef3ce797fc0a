//! Turns of a linearizer: in order, so many at once, given back whatever happens.

mod support;

use std::sync::{Arc, Mutex};

use logcontext::{FutureExt, LogContext, current_context};
use logcontext_cache::{Linearizer, Queued, Turn};
use support::keyed::{at_once, context, on_both, poll_once, until};
use tokio::sync::oneshot;

/// Nothing is left of anybody.
#[track_caller]
fn assert_empty(rooms: &Linearizer<u64>) {
    assert_eq!(rooms.keys_in_use(), 0);
    assert!(rooms.holders().is_empty() && rooms.waiting().is_empty());
}

#[test]
fn turns_of_a_key_come_in_the_order_of_arrival() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let order = Arc::new(Mutex::new(Vec::new()));
        let turn = rooms.queue(1).await;
        let mut tasks = Vec::new();
        for number in 0..50 {
            let (rooms, order) = (rooms.clone(), Arc::clone(&order));
            let before = rooms.waiting().len();
            tasks.push(context(test, "PUT").run_in_background({
                let rooms = rooms.clone();
                async move {
                    let _turn = rooms.queue(1).await;
                    order.lock().unwrap().push(number);
                    tokio::task::yield_now().await;
                    assert_eq!(rooms.holders().len(), 1);
                }
            }));
            until("it waits", || rooms.waiting().len() > before).await;
        }
        drop(turn);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
        assert_empty(&rooms);
    });
}

#[test]
fn keys_do_not_wait_for_each_other() {
    on_both(async |_| {
        let rooms = Linearizer::<u64>::new("rooms");
        let turns: Vec<Turn<u64>> = (0..1_000).map(|room| at_once(rooms.queue(room))).collect();
        assert_eq!(rooms.keys_in_use(), 1_000);
        drop(turns);
        assert_empty(&rooms);
    });
}

#[test]
fn as_many_as_it_was_told_hold_a_key_at_once() {
    on_both(async |_| {
        let rooms = Linearizer::<u64>::builder("rooms").at_once(3).build();
        let mut turns: Vec<_> = (0..3).map(|_| at_once(rooms.queue(1))).collect();
        let (mut fourth, mut fifth) = (rooms.queue(1), rooms.queue(1));
        assert!(poll_once(&mut fourth).is_pending());
        assert!(poll_once(&mut fifth).is_pending());
        assert_eq!((rooms.holders().len(), rooms.waiting().len(), rooms.keys_in_use()), (3, 2, 1));
        drop(turns.swap_remove(1));
        turns.push(at_once(fourth));
        assert!(poll_once(&mut fifth).is_pending());
        drop(turns);
        drop(at_once(fifth));
        assert_empty(&rooms);

        let none = Linearizer::<u64>::builder("none").at_once(0).build();
        let turn = at_once(none.queue(1));
        assert!(none.try_queue(1).is_none());
        drop(turn);
    });
}

#[test]
fn a_turn_without_waiting_is_had_if_nobody_holds_the_key_or_waits_for_it() {
    on_both(async |_| {
        let rooms = Linearizer::<u64>::new("rooms");
        let turn = rooms.try_queue(1).unwrap();
        assert!(rooms.try_queue(1).is_none());
        let mut waiter = rooms.queue(1);
        assert!(poll_once(&mut waiter).is_pending());
        drop(turn);
        // The turn is the waiter's, who has not heard of it yet.
        assert!(rooms.try_queue(1).is_none());
        drop(at_once(waiter));
        assert!(rooms.try_queue(1).is_some());
        assert_empty(&rooms);
    });
}

#[test]
fn who_is_polled_first_has_arrived_first() {
    on_both(async |_| {
        let rooms = Linearizer::<u64>::new("rooms");
        let turn = rooms.queue(1).await;
        let (mut made_first, mut polled_first) = (rooms.queue(1), rooms.queue(1));
        assert!(poll_once(&mut polled_first).is_pending());
        assert!(poll_once(&mut made_first).is_pending());
        drop(turn);
        assert!(poll_once(&mut made_first).is_pending());
        drop(at_once(polled_first));
        drop(at_once(made_first));
        assert_empty(&rooms);
    });
}

/// One holds the key and three wait.
fn three_wait(rooms: &Linearizer<u64>) -> (Turn<u64>, Vec<Queued<u64, Turn<u64>>>) {
    let turn = at_once(rooms.queue(1));
    let mut waiters: Vec<_> = (0..3).map(|_| rooms.queue(1)).collect();
    for waiter in &mut waiters {
        assert!(poll_once(waiter).is_pending());
    }
    (turn, waiters)
}

#[test]
fn a_cancelled_waiter_leaves_at_once_wherever_it_stood() {
    on_both(async |_| {
        let rooms = Linearizer::<u64>::new("rooms");
        for place in 0..3 {
            let (turn, mut waiters) = three_wait(&rooms);
            drop(waiters.remove(place));
            assert_eq!(rooms.waiting().len(), 2);
            drop(turn);
            for waiter in waiters {
                drop(at_once(waiter));
            }
            assert_empty(&rooms);
        }
    });
}

#[test]
fn a_waiter_cancelled_when_its_turn_had_just_come_passes_it_on() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let (turn, mut waiters) = three_wait(&rooms);
        let next = context(test, "next").run_in_background({
            let rooms = rooms.clone();
            async move { drop(rooms.queue(1).await) }
        });
        until("it waits", || rooms.waiting().len() == 4).await;
        drop(turn);
        // None of them has been polled since.
        for waiter in waiters.drain(..) {
            drop(waiter);
        }
        next.await.unwrap();
        assert_empty(&rooms);
    });
}

#[test]
fn a_waiter_that_was_never_polled_has_never_been_there() {
    on_both(async |_| {
        let rooms = Linearizer::<u64>::new("rooms");
        let turn = rooms.queue(1).await;
        let waiter = rooms.queue(1);
        assert!(rooms.waiting().is_empty());
        drop(waiter);
        drop(turn);
        assert_empty(&rooms);
    });
}

#[test]
fn a_cancelled_holder_gives_the_key_back() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let (tell, told) = oneshot::channel();
        let holder = context(test, "holder").run_in_background({
            let rooms = rooms.clone();
            async move {
                let _turn = rooms.queue(1).await;
                tell.send(()).unwrap();
                std::future::pending::<()>().await;
            }
        });
        told.await.unwrap();
        let waiter = context(test, "waiter").run_in_background({
            let rooms = rooms.clone();
            async move { drop(rooms.queue(1).await) }
        });
        until("it waits", || !rooms.waiting().is_empty()).await;
        holder.abort();
        waiter.await.unwrap();
        assert!(holder.await.is_err());
        assert_empty(&rooms);
    });
}

#[test]
fn a_holder_that_panics_gives_the_key_back() {
    on_both(async |test| {
        std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
        let rooms = Linearizer::<u64>::new("rooms");
        let panics = context(test, "panics").run_in_background({
            let rooms = rooms.clone();
            async move {
                let _turn = rooms.queue(1).await;
                panic!("on purpose");
            }
        });
        let _: Result<(), _> = panics.await;
        assert!(rooms.try_queue(1).is_some());
        assert_empty(&rooms);
    });
}

#[test]
fn whoever_waits_stays_in_its_own_context_and_the_holder_in_its_own() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let (holder, waiter) = (context(test, "holder"), context(test, "waiter"));
        let turn = rooms.queue(1).in_context(holder.clone()).await;
        assert!(current_context().is_sentinel());
        let waiting = waiter.run_in_background({
            let rooms = rooms.clone();
            async move {
                let before = current_context();
                let turn = rooms.queue(1).await;
                assert_eq!(current_context(), before);
                drop(turn);
                assert_eq!(current_context(), before);
                before.name().to_owned()
            }
        });
        until("it waits", || !rooms.waiting().is_empty()).await;
        holder.scope(|| {
            drop(turn);
            assert_eq!(current_context(), holder);
        });
        assert_eq!(waiting.await.unwrap(), waiter.name());
        assert!(current_context().is_sentinel());
    });
}

#[test]
fn nobody_who_takes_one_free_key_after_the_other_starves_the_rest() {
    // On a thread that others need, too.
    let test = logcontext::testing::start();
    test.current_thread().block_on(async {
        let rooms = Linearizer::<u64>::new("rooms");
        let (tell, mut told) = oneshot::channel();
        let other = context(&test, "other").run_in_background(async move {
            tell.send(()).unwrap();
        });
        let greedy = async {
            let mut taken = 0_u64;
            while told.try_recv().is_err() {
                drop(rooms.queue(taken).await);
                taken += 1;
                assert!(taken < 1_000_000, "the other has no chance");
            }
        };
        greedy.in_context(LogContext::new("greedy")).await;
        other.await.unwrap();
    });
}

#[test]
fn futures_and_turns_go_to_other_threads() {
    fn goes<T: Send + 'static>(_: &T) {}
    let _test = logcontext::testing::start();
    let rooms = Linearizer::<String>::new("rooms");
    goes(&rooms.queue(String::new()));
    goes(&rooms.try_queue(String::new()));
    goes(&rooms);
}

#[test]
fn a_queue_polled_after_its_end_panics() {
    let _test = logcontext::testing::start();
    let rooms = Linearizer::<u64>::new("rooms");
    let mut queued = rooms.queue(1);
    drop(poll_once(&mut queued));
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(poll_once(&mut queued))));
    assert!(again.is_err());
    assert_empty(&rooms);
}

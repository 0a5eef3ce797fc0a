//! Waiting for keys: on whose bill it is, in which figures, in which lists, and when it is on the log.

mod support;

use std::time::Duration;

use logcontext::FutureExt;
use logcontext::diagnostics::DiagnosticKind;
use logcontext::testing::Record;
use logcontext_cache::{KeyedRwLock, Linearizer};
use support::figures::Figures;
use support::keyed::{at_once, context, on_both, paused, poll_once, until, waited};
use tokio::time::{Instant, advance, sleep};
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_time_of_waiting_is_on_the_context_and_on_all_that_it_is_a_part_of() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let (holder, request) = (context(test, "holder"), context(test, "PUT-1"));
        let part = request.nested("part");
        let turn = rooms.queue(1).in_context(holder.clone()).await;
        let queued = rooms.queue(1).in_context(part.clone());
        let (second, ()) = tokio::join!(queued, async {
            advance(3 * SECOND).await;
            drop(turn);
            // The wait is over now; that the waiter is told later is no waiting for the key.
            advance(SECOND).await;
        });
        assert_eq!(second.waited(), 3 * SECOND);
        assert_eq!((waited(&part), waited(&request)), (3 * SECOND, 3 * SECOND));
        assert_eq!(waited(&holder), Duration::ZERO);
        let usage = request.usage();
        assert!(usage.counters().any(|(name, nanos)| name == "keyed_wait_nanos" && nanos == 3_000_000_000));
    });
}

#[test]
fn the_context_that_waits_is_the_one_that_was_current_when_it_came() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let (first, later) = (context(test, "first"), context(test, "later"));
        let turn = at_once(rooms.queue(1));
        let mut queued = rooms.queue(1);
        first.scope(|| assert!(poll_once(&mut queued).is_pending()));
        advance(SECOND).await;
        drop(turn);
        let turn = later.scope(|| at_once(queued));
        assert_eq!((waited(&first), waited(&later)), (SECOND, Duration::ZERO));
        assert_eq!(rooms.holders()[0].context, first);
        drop(turn);
    });
}

#[test]
fn who_gives_up_has_waited_all_the_same() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let request = context(test, "PUT-1");
        let turn = at_once(rooms.queue(1));
        let mut queued = rooms.queue(1);
        request.scope(|| assert!(poll_once(&mut queued).is_pending()));
        advance(2 * SECOND).await;
        drop(queued);
        assert_eq!(waited(&request), 2 * SECOND);
        let figures = Figures::of(test.supervisor());
        assert_eq!(figures.get("keyed_queue_gave_up,kind=linearizer,name=rooms"), 1.0);

        // Also if the turn had come, up to then.
        let mut queued = rooms.queue(1);
        request.scope(|| assert!(poll_once(&mut queued).is_pending()));
        advance(SECOND).await;
        drop(turn);
        advance(SECOND).await;
        drop(queued);
        assert_eq!(waited(&request), 3 * SECOND);
        let figures = Figures::of(test.supervisor());
        assert_eq!(figures.get("keyed_queue_gave_up,kind=linearizer,name=rooms"), 1.0);
        assert_eq!(figures.get("keyed_queue_turns,kind=linearizer,name=rooms"), 2.0);
    });
}

#[test]
fn a_key_that_is_free_is_no_wait() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let request = context(test, "PUT-1");
        let turn = rooms.queue(1).in_context(request.clone()).await;
        assert_eq!(turn.waited(), Duration::ZERO);
        drop(turn);
        assert_eq!(request.usage().counters().count(), 0);
        let figures = Figures::of(test.supervisor());
        assert_eq!(figures.get("keyed_queue_wait_seconds,kind=linearizer,name=rooms"), 0.0);
        assert_eq!(figures.get("keyed_queue_turns,kind=linearizer,name=rooms"), 1.0);
    });
}

#[test]
fn the_bill_the_turn_and_the_histogram_tell_of_the_same_wait() {
    on_both(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let request = context(test, "PUT-1");
        let turn = at_once(rooms.queue(1));
        let waiting = request.run_in_background({
            let rooms = rooms.clone();
            async move { rooms.queue(1).await.waited() }
        });
        until("it waits", || !rooms.waiting().is_empty()).await;
        drop(turn);
        let told = waiting.await.unwrap();
        assert!(told > Duration::ZERO);
        assert_eq!(waited(&request), told);
        let figures = Figures::of(test.supervisor());
        assert_eq!(figures.get("keyed_queue_wait_seconds,kind=linearizer,name=rooms"), 1.0);
        let sum = figures.get("keyed_queue_wait_seconds,kind=linearizer,name=rooms sum");
        assert!((sum - told.as_secs_f64()).abs() < 1e-9);
    });
}

#[test]
fn figures_tell_how_many_hold_and_wait_and_for_how_long() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::new("rooms");
        let lock = KeyedRwLock::<u64>::new("rooms");
        let (one, two) = (at_once(rooms.queue(1)), at_once(rooms.queue(2)));
        let readers = [at_once(lock.read(1)), at_once(lock.read(1))];
        let mut first = rooms.queue(1);
        assert!(poll_once(&mut first).is_pending());
        advance(2 * SECOND).await;
        let mut second = rooms.queue(2);
        assert!(poll_once(&mut second).is_pending());
        advance(SECOND).await;

        let figures = Figures::of(test.supervisor());
        let get = |name| figures.get(&format!("{name},kind=linearizer,name=rooms"));
        assert_eq!(get("keyed_queue_keys"), 2.0);
        assert_eq!(get("keyed_queue_holding"), 2.0);
        assert_eq!(get("keyed_queue_waiting"), 2.0);
        assert_eq!(get("keyed_queue_waiting_longest_seconds"), 3.0);
        let get = |name| figures.get(&format!("{name},kind=rwlock,name=rooms"));
        assert_eq!((get("keyed_queue_keys"), get("keyed_queue_holding")), (1.0, 2.0));
        assert_eq!((get("keyed_queue_waiting"), get("keyed_queue_waiting_longest_seconds")), (0.0, 0.0));

        drop((one, two, readers, first, second));
        let figures = Figures::of(test.supervisor());
        for name in ["keyed_queue_keys", "keyed_queue_holding", "keyed_queue_waiting"] {
            assert_eq!(figures.get(&format!("{name},kind=linearizer,name=rooms")), 0.0);
        }
        let described = test.supervisor().sources()[0].describe().len();
        assert_eq!(described, 8);
    });
}

#[test]
fn a_name_used_twice_is_numbered_and_raises_a_diagnostic() {
    let test = logcontext::testing::start();
    let first = Linearizer::<u64>::new("rooms");
    let second = Linearizer::<String>::new("rooms");
    let third = Linearizer::<u64>::new("rooms");
    let lock = KeyedRwLock::<u64>::new("rooms");
    assert_eq!([first.name(), second.name(), third.name()], ["rooms", "rooms-2", "rooms-3"]);
    assert_eq!(lock.name(), "rooms", "a lock is no linearizer");
    drop(second);
    assert_eq!(Linearizer::<u64>::new("rooms").name(), "rooms-2", "free again");
    let reports = test.take(DiagnosticKind::NameUsedTwice);
    assert_eq!(reports.len(), 3);
    assert!(reports[0].origin.unwrap().file().ends_with("keyed_waiting.rs"));
    let other = logcontext::Supervisor::new("other");
    assert_eq!(Linearizer::<u64>::builder("rooms").supervisor(&other).build().name(), "rooms");
    drop((first, third, lock));
    assert!(test.supervisor().sources().is_empty());
}

#[test]
fn who_holds_a_key_and_who_waits_for_it_and_since_when_can_be_listed_with_their_contexts() {
    paused(async |test| {
        let rooms = Linearizer::<&str>::new("rooms");
        let [a, b, c] = ["a", "b", "c"].map(|name| context(test, name));
        let start = Instant::now();
        let one = a.scope(|| at_once(rooms.queue("one")));
        advance(SECOND).await;
        let _two = b.scope(|| at_once(rooms.queue("two")));
        advance(SECOND).await;
        let (mut first, mut second) = (rooms.queue("one"), rooms.queue("one"));
        c.scope(|| assert!(poll_once(&mut first).is_pending()));
        advance(SECOND).await;
        b.scope(|| assert!(poll_once(&mut second).is_pending()));

        let holders: Vec<_> =
            rooms.holders().into_iter().map(|holder| (holder.key, holder.context, holder.since)).collect();
        assert_eq!(holders, [("one", a.clone(), start), ("two", b.clone(), start + SECOND)]);
        let waiting = || -> Vec<_> {
            rooms.waiting().into_iter().map(|waiter| (waiter.key, waiter.context, waiter.since)).collect()
        };
        assert_eq!(
            waiting(),
            [("one", c.clone(), start + 2 * SECOND), ("one", b.clone(), start + 3 * SECOND)]
        );

        // Whoever gets it holds it since then, not since it came.
        advance(SECOND).await;
        drop(one);
        assert_eq!(waiting(), [("one", b.clone(), start + 3 * SECOND)]);
        let holders = rooms.holders();
        assert_eq!((&holders[1].context, holders[1].since), (&c, start + 4 * SECOND));
    });
}

fn long_waits(test: &logcontext::testing::Test) -> Vec<Record> {
    test.records_at(Level::WARN)
}

#[test]
fn a_wait_longer_than_the_limit_is_logged_while_it_lasts_with_who_waits_and_who_holds() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(5 * SECOND).build();
        let (holder, first, second) =
            (context(test, "holder"), context(test, "first"), context(test, "second"));
        let turn = holder.scope(|| at_once(rooms.queue(17)));
        sleep(SECOND).await;
        let tasks = [&first, &second].map(|context| {
            let rooms = rooms.clone();
            context.run_in_background(async move { drop(rooms.queue(17).await) })
        });
        sleep(5 * SECOND - Duration::from_millis(1)).await;
        assert!(long_waits(test).is_empty());
        sleep(Duration::from_millis(3)).await;
        let records = long_waits(test);
        assert_eq!(records.len(), 2, "{records:?}");
        for (record, (context, ahead)) in records.iter().zip([(&first, "0"), (&second, "1")]) {
            assert_eq!(&record.context, context);
            assert_eq!((&*record.target, &*record.message), ("logcontext::cache", "waits long for a key"));
            let field = |name| record.field(name).unwrap_or_else(|| panic!("no {name} in {record:?}"));
            assert_eq!((field("name"), field("kind"), field("key")), ("rooms", "linearizer", "17"));
            assert_eq!((field("waiter"), field("holder")), (context.name(), "holder"));
            assert_eq!((field("access"), field("ahead"), field("still_waiting")), ("turn", ahead, "true"));
            assert!(field("waited").starts_with('5') && field("held").starts_with('6'), "{record:?}");
        }

        // Once: not again while it goes on, nor at its end.
        sleep(20 * SECOND).await;
        drop(turn);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(long_waits(test).len(), 2);
        let figures = Figures::of(test.supervisor());
        assert_eq!(figures.get("keyed_queue_long_waits,kind=linearizer,name=rooms"), 2.0);
    });
}

#[test]
fn whoever_comes_while_others_are_being_watched_is_watched_too() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(5 * SECOND).build();
        let _turn = at_once(rooms.queue(1));
        let request = context(test, "PUT-1");
        let tasks = [0, 1, 2].map(|_| {
            let rooms = rooms.clone();
            request.run_in_background(async move { drop(rooms.queue(1).await) })
        });
        for expected in [0, 3] {
            assert_eq!(long_waits(test).len(), expected);
            sleep(6 * SECOND).await;
        }
        // Nobody is left to be watched; then somebody comes again.
        let _held = at_once(rooms.queue(2));
        let late = request.run_in_background({
            let rooms = rooms.clone();
            async move { drop(rooms.queue(2).await) }
        });
        sleep(3 * SECOND).await;
        let later = request.run_in_background({
            let rooms = rooms.clone();
            async move { drop(rooms.queue(2).await) }
        });
        sleep(3 * SECOND).await;
        assert_eq!(long_waits(test).len(), 4);
        sleep(3 * SECOND).await;
        assert_eq!(long_waits(test).len(), 5);
        tasks.iter().chain([&late, &later]).for_each(|task| task.abort());
    });
}

#[test]
fn a_long_wait_is_logged_at_its_end_where_there_is_no_runtime() {
    let test = logcontext::testing::start();
    let rooms = Linearizer::<u64>::builder("rooms").slow_wait(Duration::from_millis(1)).build();
    let (holder, waiter) = (context(&test, "holder"), context(&test, "waiter"));
    let longer = || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    };
    let turn = holder.scope(|| at_once(rooms.queue(1)));
    let (mut told, mut gives_up, mut untold) = (rooms.queue(1), rooms.queue(1), rooms.queue(1));
    waiter.scope(|| {
        for queued in [&mut told, &mut gives_up, &mut untold] {
            assert!(poll_once(queued).is_pending());
        }
        longer();
        drop(gives_up);
        drop(turn);
        drop(at_once(told));
        drop(untold);
    });
    let records = long_waits(&test);
    assert_eq!(records.len(), 3);
    for (record, holder) in records.iter().zip(["holder", "holder", "waiter"]) {
        assert_eq!(record.context, waiter);
        assert_eq!((record.field("waiter"), record.field("holder")), (Some("waiter"), Some(holder)));
        assert_eq!((record.field("still_waiting"), record.field("held")), (Some("false"), None));
    }
}

#[test]
fn a_wait_within_the_limit_is_not_logged() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(5 * SECOND).build();
        let never = Linearizer::<u64>::builder("never").slow_wait(Duration::MAX).build();
        let (turn, _never) = (at_once(rooms.queue(1)), at_once(never.queue(1)));
        let ((), ()) = tokio::join!(async { drop(rooms.queue(1).await) }, async {
            sleep(4 * SECOND).await;
            drop(turn);
        });
        assert!(tokio::time::timeout(1_000_000 * SECOND, never.queue(1)).await.is_err());
        assert!(long_waits(test).is_empty());
    });
}

#[test]
fn a_key_that_is_stuck_does_not_flood_the_log() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(SECOND).build();
        let _turn = at_once(rooms.queue(1));
        let request = context(test, "PUT-1");
        let crowd = |n: usize| -> Vec<_> {
            let mut waiters: Vec<_> = (0..n).map(|_| rooms.queue(1)).collect();
            request.scope(|| waiters.iter_mut().for_each(|waiter| assert!(poll_once(waiter).is_pending())));
            waiters
        };
        let many = crowd(1_000);
        sleep(2 * SECOND).await;
        assert_eq!(long_waits(test).len(), 10);
        let figures = Figures::of(test.supervisor());
        assert_eq!(figures.get("keyed_queue_long_waits,kind=linearizer,name=rooms"), 1_000.0);
        sleep(60 * SECOND).await;
        let one = crowd(1);
        sleep(2 * SECOND).await;
        let records = long_waits(test);
        assert_eq!(records.len(), 11);
        assert_eq!(records[10].field("suppressed"), Some("990"));
        drop((many, one));
    });
}

#[test]
fn a_waiter_whose_request_has_finished_is_logged_in_its_context_and_is_no_fault() {
    paused(async |test| {
        let rooms = Linearizer::<u64>::builder("rooms").slow_wait(SECOND).build();
        let _turn = at_once(rooms.queue(1));
        let request = context(test, "PUT-1");
        let waiting = request.run_in_background({
            let rooms = rooms.clone();
            async move { drop(rooms.queue(1).await) }
        });
        until("it waits", || !rooms.waiting().is_empty()).await;
        request.finish();
        sleep(2 * SECOND).await;
        assert_eq!(long_waits(test)[0].context, request);
        waiting.abort();
    });
}

#[path = "../../src/lookup/charge.rs"]
mod charge;
#[path = "../../src/lookup/driver.rs"]
mod driver;
#[path = "../../src/lookup/entry.rs"]
mod entry;
#[path = "../../src/lookup/error.rs"]
mod error;
#[path = "../../src/lookup/figures.rs"]
mod figures;
#[path = "../../src/lookup/flight.rs"]
mod flight;
#[path = "../../src/lookup/inner.rs"]
mod inner;

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use logcontext::{Ending, Supervisor};
use loom::thread;

use super::clock::Clock;
use super::store::store;
use super::sync::{Mutex, lock, model, waker};
use charge::{Books, ChargeTo};
use driver::Lookup;
use entry::{Answer, Outcome};
use flight::Flight;
use inner::{Found, Inner};

type Cache = Inner<u8, u8, ()>;
type Begun = Arc<Flight<u8, u8, ()>>;

const KEY: u8 = 1;

fn cache() -> Arc<Cache> {
    let (supervisor, origin) = (Supervisor::new("loom"), Location::caller());
    Arc::new(Inner {
        books: Books::new(ChargeTo::FirstCaller, "loom", &supervisor, origin),
        name: supervisor.claim_name("cache", "loom", origin),
        origin,
        capacity: 16,
        expiry: None,
        error_expiry: None,
        land_unattended: false,
        lookup: Lookup::One(Box::new(|_| unreachable!("the test lands by itself"))),
        clock: Clock::new(),
        figures: figures::Figures::new(),
        store: store(16),
        flights: Mutex::new(HashMap::default()),
        supervisor,
    })
}

enum Asked {
    Hit(u8),
    /// Which waiter it is, of which flight, and whether it has begun that.
    Waits(Begun, u64, bool),
}

fn ask(cache: &Cache, name: &'static str) -> Asked {
    let caller = cache.supervisor.context(name).start();
    match cache.ask_one(&KEY, &caller) {
        (Found::Joined(flight, number), begun) => Asked::Waits(flight, number, begun),
        (Found::Answer(Answer::Found(value)), _) => Asked::Hit(*value),
        _ => unreachable!("nothing is absent, nothing fails"),
    }
}

/// Asks where there is nothing yet.
fn begin(cache: &Cache, name: &'static str) -> Begun {
    match ask(cache, name) {
        Asked::Waits(flight, 0, true) => flight,
        _ => panic!("there was something"),
    }
}

fn land(cache: &Cache, flight: &Begun, value: u8) {
    cache.land(flight, Outcome::One(Arc::new(value)), Ending::Ok);
}

/// As a task does it: sleeps until it is woken.
fn wait(flight: &Begun, number: u64) -> u8 {
    loop {
        match flight.poll(number, &waker()) {
            Poll::Ready(outcome) => return *outcome.of(&KEY).ok().flatten().expect("found"),
            Poll::Pending => thread::park(),
        }
    }
}

fn kept(cache: &Cache) -> Option<u8> {
    cache.peek(&KEY).and_then(|answer| answer.into_result().ok().flatten()).map(|value| *value)
}

#[track_caller]
fn assert_no_flights(cache: &Cache) {
    assert!(lock(&cache.flights).is_empty());
}

#[test]
fn whoever_waits_is_told_though_the_payer_goes() {
    model(|| {
        let cache = cache();
        let flight = begin(&cache, "payer");
        let Asked::Waits(_, second, false) = ask(&cache, "waiter") else { panic!("a second lookup") };
        let goes = {
            let (cache, flight) = (Arc::clone(&cache), Arc::clone(&flight));
            thread::spawn(move || cache.leave(&flight, 0))
        };
        let waits = {
            let flight = Arc::clone(&flight);
            thread::spawn(move || wait(&flight, second))
        };
        land(&cache, &flight, 7);
        goes.join().unwrap();
        assert_eq!(waits.join().unwrap(), 7);
        assert_eq!(kept(&cache), Some(7));
        assert_no_flights(&cache);
    });
}

#[test]
fn who_comes_as_the_last_one_goes_joins_or_begins_anew() {
    model(|| {
        let cache = cache();
        let first = begin(&cache, "first");
        let goes = {
            let (cache, flight) = (Arc::clone(&cache), Arc::clone(&first));
            thread::spawn(move || cache.leave(&flight, 0))
        };
        let comes = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || match ask(&cache, "second") {
                Asked::Hit(value) => value,
                Asked::Waits(flight, number, begun) => {
                    if begun {
                        land(&cache, &flight, 8);
                    }
                    wait(&flight, number)
                }
            })
        };
        land(&cache, &first, 7);
        goes.join().unwrap();
        let got = comes.join().unwrap();
        assert_eq!(kept(&cache), Some(got), "what was given up is not kept");
        assert_no_flights(&cache);
    });
}

#[test]
fn what_is_invalidated_while_it_lands_is_not_kept_and_who_asks_then_begins_anew() {
    model(|| {
        let cache = cache();
        let old = begin(&cache, "old");
        let invalidates = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || {
                cache.invalidate(&KEY);
                let new = begin(&cache, "new");
                land(&cache, &new, 8);
                wait(&new, 0)
            })
        };
        land(&cache, &old, 7);
        assert_eq!(wait(&old, 0), 7, "who waited is told");
        assert_eq!(invalidates.join().unwrap(), 8);
        assert_eq!(kept(&cache), Some(8));
        assert_no_flights(&cache);
    });
}

#[test]
fn of_callers_that_meet_one_begins_the_lookup() {
    model(|| {
        let (cache, begun) = (cache(), Arc::new(AtomicUsize::new(0)));
        let asks = |cache: &Cache, begun: &AtomicUsize| match ask(cache, "caller") {
            Asked::Hit(value) => value,
            Asked::Waits(flight, number, is_first) => {
                if is_first {
                    begun.fetch_add(1, Relaxed);
                    land(cache, &flight, 7);
                }
                wait(&flight, number)
            }
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (cache, begun) = (Arc::clone(&cache), Arc::clone(&begun));
                thread::spawn(move || asks(&cache, &begun))
            })
            .collect();
        assert_eq!(asks(&cache, &begun), 7);
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 7));
        assert_eq!(begun.load(Relaxed), 1);
        assert_no_flights(&cache);
    });
}

#[test]
fn there_is_a_payer_as_long_as_somebody_waits_and_one_at_a_time() {
    model(|| {
        let cache = cache();
        let flight = begin(&cache, "first");
        let Asked::Waits(_, second, false) = ask(&cache, "second") else { panic!("a second lookup") };
        let before = flight.context();
        let goes = {
            let (cache, flight) = (Arc::clone(&cache), Arc::clone(&flight));
            thread::spawn(move || cache.leave(&flight, 0))
        };
        let comes = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || match ask(&cache, "third") {
                Asked::Waits(flight, number, false) => cache.leave(&flight, number),
                _ => panic!("it has not landed"),
            })
        };
        let between = flight.context();
        assert!(between == before || between.parent().name() == "second", "{between}");
        goes.join().unwrap();
        comes.join().unwrap();
        let after = flight.context();
        assert!(after != before && after.parent().name() == "second" && !after.is_finished());
        assert!(before.is_finished());
        cache.leave(&flight, second);
        assert_no_flights(&cache);
        land(&cache, &flight, 7);
        assert!(after.is_finished());
        assert_eq!(kept(&cache), None);
    });
}

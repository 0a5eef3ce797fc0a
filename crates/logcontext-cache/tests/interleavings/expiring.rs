#[path = "../../src/expiring/entry.rs"]
mod entry;
#[path = "../../src/expiring/figures.rs"]
mod figures;
#[path = "../../src/expiring/listener.rs"]
mod listener;
#[path = "../../src/expiring/reaper.rs"]
mod reaper;
#[path = "../../src/expiring/schedule.rs"]
mod schedule;
#[path = "../../src/expiring/shared.rs"]
mod shared;

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use logcontext::Supervisor;
use loom::thread;
use tokio::sync::Notify;

use super::clock::Clock;
use super::store::store;
use super::sync::{AtomicBool, Mutex, lock, model};
use listener::{EvictionCause, Told};
use reaper::Reaper;
use schedule::Schedule;
use shared::Shared;

type Cache = Shared<u8, u8>;
/// What a listener has been told.
type Heard = Arc<StdMutex<Vec<(u8, EvictionCause)>>>;

const HOUR: Option<Duration> = Some(Duration::from_secs(3_600));
const NOW: Option<Duration> = Some(Duration::ZERO);

/// With a reaper that runs, which is the test's.
fn cache() -> (Arc<Cache>, Heard) {
    let (supervisor, origin, heard) = (Supervisor::new("loom"), Location::caller(), Heard::default());
    let tell = Arc::clone(&heard);
    let told = Told::new(Box::new(move |_, value, cause| tell.lock().unwrap().push((value, cause))));
    let shared = Shared {
        name: supervisor.claim_name("cache", "loom", origin),
        origin,
        capacity: 16,
        expiry: HOUR,
        renew: false,
        clock: Clock::new(),
        figures: figures::Figures::default(),
        store: store(16),
        schedule: Mutex::new(Schedule::new(HOUR)),
        records: AtomicU64::new(0),
        told: Some(told),
        is_reaped: AtomicBool::new(true),
        is_closed: AtomicBool::new(false),
        wake: Notify::new(),
        supervisor,
    };
    (Arc::new(shared), heard)
}

#[test]
fn the_listener_is_told_once_though_the_reaper_was_about_to_end() {
    model(|| {
        let (cache, heard) = cache();
        let reaper = Reaper { shared: Arc::clone(&cache) };
        let evicts = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || cache.evicted(|| 1, 7, EvictionCause::Removed))
        };
        drop(reaper);
        evicts.join().unwrap();
        assert_eq!(*heard.lock().unwrap(), [(7, EvictionCause::Removed)]);
    });
}

#[test]
fn a_value_that_comes_while_the_one_before_it_expires_stays_and_is_to_be_looked_at() {
    model(|| {
        let (cache, heard) = cache();
        cache.insert(1, 7, NOW);
        let inserts = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || cache.insert(1, 8, HOUR))
        };
        cache.reap();
        inserts.join().unwrap();
        assert_eq!(cache.hit(&1), Some(8));
        assert!(lock(&cache.schedule).next_due().is_some(), "it would stay for ever");
        drop(Reaper { shared: Arc::clone(&cache) });
        assert_eq!(*heard.lock().unwrap(), [(7, EvictionCause::Expired)]);
    });
}

#[test]
fn what_is_removed_while_it_expires_goes_once() {
    model(|| {
        let (cache, heard) = cache();
        cache.insert(1, 7, NOW);
        let removes = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || cache.remove(&1))
        };
        cache.reap();
        assert_eq!(removes.join().unwrap(), None, "it has expired");
        drop(Reaper { shared: Arc::clone(&cache) });
        assert_eq!(*heard.lock().unwrap(), [(7, EvictionCause::Expired)]);
        assert_eq!(cache.store.len(), 0);
    });
}

#[test]
fn of_those_who_bring_the_first_entry_at_once_one_starts_the_reaper() {
    model(|| {
        let (cache, _) = cache();
        cache.is_reaped.store(false, SeqCst);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inside = runtime.enter();
        let other = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || reaper::ensure(&cache))
        };
        assert!(reaper::ensure(&cache));
        assert!(other.join().unwrap());
        assert_eq!(cache.supervisor.running().len(), 1);
        drop(inside);
        drop(runtime);
    });
}

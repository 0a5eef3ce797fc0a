//! What does not allocate.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use logcontext::{LogContext, testing};
use logcontext_cache::{CachedLookup, ExpiringCache, Linearizer};

/// How often memory was asked for in one of many rounds, after some that warm up.
fn allocations(mut round: impl FnMut()) -> u64 {
    (0..10).for_each(|_| round());
    allocation_counter::measure(|| (0..100).for_each(|_| round())).count_total
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(tokio::task::coop::unconstrained(future)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn a_hit_does_not_allocate() {
    let test = testing::start();
    let lookup = |name| CachedLookup::builder(name);
    let plain = lookup("plain").build(|key: u64| async move { Ok::<_, ()>(key) });
    let hour = Duration::from_secs(3_600);
    let expiring = lookup("expiring").expiry(hour).build(|key: u64| async move { Ok::<_, ()>(key) });
    let entries = ExpiringCache::builder("entries").expiry(hour).renew_on_read().build();
    plain.insert(1, 17);
    expiring.insert(1, 17);
    entries.insert(1, Arc::new(17));
    LogContext::new("GET-1").scope(|| {
        assert_eq!(allocations(|| assert_eq!(*ready(plain.get(1)).unwrap(), 17)), 0);
        assert_eq!(allocations(|| assert_eq!(*ready(expiring.find(1)).unwrap().unwrap(), 17)), 0);
        assert_eq!(allocations(|| assert_eq!(*entries.get(&1).unwrap(), 17)), 0);
        assert!(allocations(|| drop(black_box(Box::new(1)))) > 0, "they are counted");
    });
    drop(test);
}

#[test]
fn a_key_that_is_free_is_taken_without_allocating() {
    let _test = testing::start();
    let rooms = Linearizer::new("rooms");
    LogContext::new("PUT-1").scope(|| {
        assert_eq!(allocations(|| drop(ready(rooms.queue(1_u64)))), 0);
    });
}

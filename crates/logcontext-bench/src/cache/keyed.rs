//! Taking a key and giving it back: ours, beside a `tokio::sync::Mutex` for each key in a `DashMap`.

use std::collections::VecDeque;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;
use logcontext::Supervisor;
use logcontext_cache::{KeyedRwLock, Linearizer};
use tokio::runtime::Builder;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::Effort;
use crate::report::Report;
use crate::rounds::in_turn;

/// Taking and giving back a key that nobody else wants, in nanoseconds.
const CEILING: f64 = 150.0;
const WAITERS: u32 = 1_000;

/// What people write: a lock for each key, which is taken out of the map by whoever was the last to need it.
#[derive(Default)]
struct Locks(DashMap<u64, Arc<Mutex<()>>>);

struct Locked<'a> {
    locks: &'a Locks,
    key: u64,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    async fn queue(&self, key: u64) -> Locked<'_> {
        let lock = Arc::clone(&self.0.entry(key).or_default());
        Locked { locks: self, key, guard: Some(lock.lock_owned().await) }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.guard = None;
        // One handle is the map's: nobody else holds the lock or waits for it.
        self.locks.0.remove_if(&self.key, |_, lock| Arc::strong_count(lock) == 1);
    }
}

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Keyed queues, in nanoseconds");
    let service = Supervisor::new("bench");
    let linearizer = Linearizer::<u64>::builder("bench").supervisor(&service).build();
    let rwlock = KeyedRwLock::<u64>::builder("bench").supervisor(&service).build();
    let locks = Locks::default();
    let request = service.context("request").start();

    let rounds = effort.of(2_000);
    let (mut a, mut b, mut c) = (0_u64, 0_u64, 0_u64);
    let [ours, peer, read] = request.scope(|| {
        in_turn(
            rounds,
            300,
            [
                &mut |n| keys(n, &mut a, |key| drop(ready(linearizer.queue(key)))),
                &mut |n| keys(n, &mut b, |key| drop(ready(locks.queue(key)))),
                &mut |n| keys(n, &mut c, |key| drop(ready(rwlock.read(key)))),
            ],
        )
    });
    report.bounded("linearizer_ns", ours.spread(), CEILING);
    report.figure("dashmap_mutex_ns", peer.spread());
    report.figure("rwlock_read_ns", read.spread());

    // As in a service: who waits is looked after by a task, if that takes long.
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    // Each sample is the whole way of so many: come, wait, be woken, take, give back.
    let [ours, peer] = request.scope(|| {
        in_turn(
            effort.of(200),
            WAITERS,
            [&mut |n| crowd(n, || linearizer.queue(17)), &mut |n| crowd(n, || locks.queue(17))],
        )
    });
    report.figure("linearizer_1000_waiters_ns", ours.spread());
    report.figure("dashmap_mutex_1000_waiters_ns", peer.spread());
}

/// A different key each time, of a thousand.
fn keys(n: u32, next: &mut u64, mut f: impl FnMut(u64)) {
    for _ in 0..n {
        *next = (*next + 1) % 1_000;
        f(*next);
    }
}

/// The output of a future that does not wait.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nobody else wants the key"),
    }
}

/// One holds the key and `n` wait for it; then each takes it and gives it back in turn.
fn crowd<F: Future>(n: u32, mut queue: impl FnMut() -> F) {
    let mut cx = Context::from_waker(Waker::noop());
    let first = ready(queue());
    let mut waiters: VecDeque<Pin<Box<F>>> = (0..n).map(|_| Box::pin(queue())).collect();
    for waiter in &mut waiters {
        assert!(waiter.as_mut().poll(&mut cx).is_pending());
    }
    drop(first);
    while let Some(waiter) = waiters.pop_front() {
        drop(ready(waiter));
    }
}

//! What a hit costs, beside quick_cache and moka, and what a second thread does to it.

use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use logcontext::{FutureExt as _, LogContext, Supervisor};
use logcontext_cache::{CachedLookup, ExpiringCache};
use tokio::runtime::{Builder, Runtime};

use crate::Effort;
use crate::report::Report;
use crate::rounds::in_turn;
use crate::stats::Samples;

/// A hit without expiry, and with, in nanoseconds.
const CEILING: f64 = 40.0;
const EXPIRING_CEILING: f64 = 60.0;

const KEYS: u64 = 1_000;
const EXPIRY: Duration = Duration::from_secs(3_600);

type Lookup = CachedLookup<u64, u64, ()>;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Hits, in nanoseconds");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let service = Supervisor::new("bench");
    let caches = Caches::full(&runtime, &service);
    let request = service.context("GET-1").start();
    let _inside = runtime.enter();
    let mut keys = [0; 7];
    let [a, b, c, d, e, f, g] = &mut keys;
    let [bare, ours, expiring, entries, renewed, quick, moka] = request.scope(|| {
        in_turn(
            effort.of(3_000),
            500,
            [
                &mut |n| each(n, a, |key| key),
                &mut |n| in_a_task(each_awaited(n, b, async |key| caches.plain.get(key).await)),
                &mut |n| in_a_task(each_awaited(n, c, async |key| caches.expiring.get(key).await)),
                &mut |n| each(n, d, |key| caches.entries.get(&key)),
                &mut |n| each(n, e, |key| caches.renewed.get(&key)),
                &mut |n| each(n, f, |key| caches.quick.get(&key)),
                &mut |n| in_a_task(each_awaited(n, g, async |key| caches.moka.get(&key).await)),
            ],
        )
    });
    // The loop itself is on nobody's bill.
    let less_loop = |samples: Samples| samples.zip(&bare, |samples, bare| samples - bare).spread();
    report.bounded("hit_ns", less_loop(ours), CEILING);
    report.bounded("hit_expiring_ns", less_loop(expiring), EXPIRING_CEILING);
    report.bounded("expiring_cache_hit_ns", less_loop(entries), EXPIRING_CEILING);
    report.figure("expiring_cache_hit_renewed_ns", less_loop(renewed));
    report.figure("quick_cache_hit_ns", less_loop(quick));
    report.figure("moka_hit_ns", less_loop(moka));

    let hit = |key| drop(black_box(in_a_task(async { caches.plain.get(key).await })));
    report.figure("hit_two_threads_over_one", scaling(effort, &hit));
    let hit = |key| drop(black_box(caches.quick.get(&key)));
    report.figure("quick_cache_two_threads_over_one", scaling(effort, &hit));
}

struct Caches {
    plain: Lookup,
    expiring: Lookup,
    entries: ExpiringCache<u64, Arc<u64>>,
    renewed: ExpiringCache<u64, Arc<u64>>,
    quick: quick_cache::sync::Cache<u64, Arc<u64>>,
    moka: moka::future::Cache<u64, Arc<u64>>,
}

impl Caches {
    fn full(runtime: &Runtime, service: &Supervisor) -> Self {
        let _inside = runtime.enter();
        let lookup = |name| CachedLookup::builder(name).supervisor(service);
        let expiring = |name| ExpiringCache::builder(name).supervisor(service).expiry(EXPIRY);
        let caches = Self {
            plain: lookup("plain").build(|key| async move { Ok(key) }),
            expiring: lookup("expiring").expiry(EXPIRY).build(|key| async move { Ok(key) }),
            entries: expiring("entries").build(),
            renewed: expiring("renewed").renew_on_read().build(),
            quick: quick_cache::sync::Cache::new(10_000),
            moka: moka::future::Cache::builder().max_capacity(10_000).time_to_live(EXPIRY).build(),
        };
        let fill = async {
            for key in 0..KEYS {
                caches.plain.insert(key, key);
                caches.expiring.insert(key, key);
                caches.entries.insert(key, Arc::new(key));
                caches.renewed.insert(key, Arc::new(key));
                caches.quick.insert(key, Arc::new(key));
                caches.moka.insert(key, Arc::new(key)).await;
            }
            caches.moka.run_pending_tasks().await;
        };
        runtime.block_on(fill.in_context(LogContext::builder("fill").supervisor(service).start()));
        caches
    }
}

fn each<T>(n: u32, next: &mut u64, mut f: impl FnMut(u64) -> T) {
    for _ in 0..n {
        black_box(f(step(next)));
    }
}

/// The same as a task does it: hit after hit, in one future.
async fn each_awaited<T>(n: u32, next: &mut u64, f: impl AsyncFn(u64) -> T) {
    for _ in 0..n {
        black_box(f(step(next)).await);
    }
}

/// The next key: not in order, and without a division.
fn step(next: &mut u64) -> u64 {
    *next = next.wrapping_add(379) & 0x3ff;
    (*next).min(KEYS - 1)
}

/// The output of a future that does not wait.
fn in_a_task<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("it is in the cache"),
    }
}

/// How much more two threads get done than one, in the same time: 2 is perfect.
fn scaling(effort: Effort, hit: &(impl Fn(u64) + Sync)) -> crate::stats::Spread {
    let samples: Samples = (0..effort.of(30))
        .map(|_| {
            let one = on_threads(1, hit);
            let two = on_threads(2, hit);
            2.0 * one / two
        })
        .collect();
    samples.spread()
}

/// The time that so many threads need, each for its own hits, in seconds.
fn on_threads(threads: usize, hit: &(impl Fn(u64) + Sync)) -> f64 {
    const HITS: u32 = 200_000;
    let barrier = Barrier::new(threads);
    let times: Vec<f64> = std::thread::scope(|scope| {
        let run = |n: usize| {
            let mut next = n as u64 * 500;
            barrier.wait();
            let start = Instant::now();
            each(HITS, &mut next, hit);
            start.elapsed().as_secs_f64()
        };
        #[expect(clippy::disallowed_methods, reason = "nobody's work")]
        let handles: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a thread of hits")).collect()
    });
    times.into_iter().fold(0.0, f64::max)
}

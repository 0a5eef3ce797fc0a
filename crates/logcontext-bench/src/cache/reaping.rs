//! What keeping and forgetting many entries costs, and how long others wait meanwhile.

use std::time::{Duration, Instant};

use logcontext::{FutureExt as _, Supervisor};
use logcontext_cache::{CachedLookup, ExpiringCache};
use tokio::runtime::Builder;

use crate::Effort;
use crate::contexts::resident_bytes;
use crate::report::Report;
use crate::stats::Samples;

const MANY: usize = 1_000_000;
const KEPT: usize = 200_000;
/// The longest time that other work had to wait, in milliseconds.
const CEILING: f64 = 1.0;

fn one(value: f64) -> crate::stats::Spread {
    [value].into_iter().collect::<Samples>().spread()
}

/// What the process grows by for each entry, a key and a value of 8 bytes included. For lookups that includes the
/// allocation which the value is in.
pub(crate) fn memory(report: &mut Report) {
    report.section("Memory, in bytes per entry");
    let service = Supervisor::new("bench");
    let lookups = CachedLookup::builder("lookups").supervisor(&service).capacity(KEPT * 2);
    let lookups = lookups.build(|key: u64| async move { Ok::<u64, ()>(key) });
    let before = resident_bytes();
    for key in 0..KEPT as u64 {
        lookups.insert(key, key);
    }
    tell(report, "lookup_entry_bytes", before, lookups.len());
    drop(lookups);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let cache = ExpiringCache::builder("expiring").supervisor(&service).capacity(KEPT * 2);
    let cache = cache.expiry(Duration::from_secs(3_600)).build();
    let before = resident_bytes();
    for key in 0..KEPT as u64 {
        cache.insert(key, key);
    }
    tell(report, "expiring_entry_bytes", before, cache.len());
}

fn tell(report: &mut Report, key: &str, before: Option<f64>, entries: usize) {
    if let Some((before, after)) = before.zip(resident_bytes()) {
        report.figure(key, one((after - before) / entries as f64));
    }
}

/// A million entries expire at once, on the only thread of a runtime, beside a task that asks for a turn whenever it can.
pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("A million expired entries");
    let many = effort.of(MANY);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let service = Supervisor::new("bench");
    let (mut longest, mut bare, mut each) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..5 {
        let request = service.context("GET-1").start();
        let round = async {
            let cache = ExpiringCache::builder("reaped").supervisor(&service).capacity(many * 2);
            let cache = cache.expiry(Duration::from_secs(3_600)).build();
            let expiry = Duration::from_millis(1);
            for key in 0..many as u64 {
                cache.insert_with_expiry(key, key, expiry);
            }
            let entries = cache.len();
            let start = Instant::now();
            let pause = pauses(|| cache.is_empty()).await;
            let took = start.elapsed();
            // The same machine at the same time, with nothing to reap.
            let end = Instant::now() + took;
            (pause, pauses(|| Instant::now() >= end).await, took.as_secs_f64() * 1e9 / entries as f64)
        };
        let (reaping, idle, nanos) = runtime.block_on(round.in_context(request));
        // What the cache leaves behind goes before the next round: giving so much memory back to the system takes long.
        runtime.block_on(async {
            while !service.running().is_empty() {
                tokio::task::yield_now().await;
            }
        });
        longest.push(reaping);
        bare.push(idle);
        each.push(nanos);
    }
    report.bounded("reaping_longest_pause_ms", longest.spread(), CEILING);
    report.figure("idle_longest_pause_ms", bare.spread());
    report.figure("reaping_ns_per_entry", each.spread());
}

/// Asks for turn after turn until it is over; the longest time between two of them, in milliseconds of this thread's CPU:
/// what the machine does for others meanwhile is not the reaper's.
async fn pauses(over: impl Fn() -> bool) -> f64 {
    let now = || logcontext::bench::thread_cpu_nanos().unwrap_or(0);
    let (mut last, mut longest) = (now(), 0);
    while !over() {
        tokio::task::yield_now().await;
        let turn = now();
        longest = longest.max(turn - last);
        last = now();
    }
    longest as f64 / 1e6
}

//! What looking something up costs, when there is nothing to wait for.

use std::time::Instant;

use logcontext::{FutureExt as _, Supervisor};
use logcontext_cache::{CachedLookup, ChargeTo};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;

use crate::Effort;
use crate::report::Report;
use crate::stats::Samples;

const PER_ROUND: u64 = 100;
const WAITERS: usize = 32;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Lookups, in microseconds");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let service = Supervisor::new("bench");
    let request = service.context("GET-1").start();
    let rounds = effort.of(300);
    let (mut bare, mut moka_miss) = (Samples::default(), Samples::default());
    let mut misses = [const { (ChargeTo::FirstCaller, "miss_us", Vec::new()) }; 3];
    misses[1] = (ChargeTo::Shared, "miss_shared_us", Vec::new());
    misses[2] = (ChargeTo::Cache, "miss_charged_to_cache_us", Vec::new());
    let mut waiters = Samples::default();
    runtime.block_on(
        async {
            let caches = misses.each_ref().map(|(payer, name, _)| {
                let builder =
                    CachedLookup::builder(name).supervisor(&service).capacity(1_000).charge_to(*payer);
                builder.build(|key: u64| async move { Ok::<_, ()>(key) })
            });
            let moka = moka::future::Cache::new(1_000);
            let (mut key, gate) = (0, std::sync::Arc::new(Semaphore::new(0)));
            let opened = std::sync::Arc::clone(&gate);
            let gated =
                CachedLookup::builder("gated").supervisor(&service).capacity(1_000).build(move |key: u64| {
                    let gate = std::sync::Arc::clone(&gate);
                    async move {
                        gate.acquire().await.expect("open").forget();
                        Ok::<_, ()>(key)
                    }
                });
            for round in 0..=rounds {
                let push = |samples: &mut Samples, start: Instant, n: u64| {
                    if round > 0 {
                        samples.push(start.elapsed().as_secs_f64() * 1e6 / n as f64);
                    }
                };
                let start = Instant::now();
                for _ in 0..PER_ROUND {
                    #[expect(clippy::disallowed_methods, reason = "what a task costs by itself")]
                    tokio::spawn(async {}).await.expect("an empty task");
                }
                push(&mut bare, start, PER_ROUND);
                for (cache, (.., samples)) in caches.iter().zip(&mut misses) {
                    let start = Instant::now();
                    for _ in 0..PER_ROUND {
                        key += 1;
                        cache.get(key).await.expect("found");
                    }
                    let mut spread = Samples::default();
                    push(&mut spread, start, PER_ROUND);
                    samples.extend_from_slice(spread.values());
                }
                let start = Instant::now();
                for _ in 0..PER_ROUND {
                    key += 1;
                    moka.get_with(key, async { key }).await;
                }
                push(&mut moka_miss, start, PER_ROUND);

                key += 1;
                let start = Instant::now();
                let mut waiting: Vec<_> = (0..WAITERS).map(|_| Box::pin(gated.get(key))).collect();
                for waiter in &mut waiting {
                    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                    assert!(waiter.as_mut().poll(&mut cx).is_pending());
                }
                opened.add_permits(1);
                for waiter in waiting {
                    waiter.await.expect("found");
                }
                push(&mut waiters, start, 1);
            }
        }
        .in_context(request),
    );
    report.figure("bare_spawn_us", bare.spread());
    for (_, name, samples) in misses {
        report.figure(name, samples.into_iter().collect::<Samples>().spread());
    }
    report.figure("moka_miss_us", moka_miss.spread());
    report.figure("waiters_32_us", waiters.spread());
}

//! Over Redis, between two processes.

use std::time::{Duration, Instant};

use anyhow::Result;
use logcontext_bus::Bus;
use logcontext_testservers::Redis;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::bare_redis::BareClient;
use super::child::Child;
use super::load::{Calls, calls};
use super::{Found, SHARE_FLOOR, Side, ours};
use crate::Effort;
use crate::cpu::process_nanos;
use crate::report::{Report, rounded};
use crate::stats::Samples;

const ROUND: Duration = Duration::from_secs(1);
const EVENTS: u64 = 30_000;

pub(super) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    report.section("Over Redis: calls and events a second, microseconds");
    let redis = match Redis::start_in_memory() {
        Ok(redis) => redis,
        Err(missing) => {
            report.note(&format!("not measured: {missing}"));
            return Ok(());
        }
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut found = Found::default();
    let rounds = effort.of(8);
    for callers in [1, 50] {
        let (ours, bare) = measure(&runtime, &redis, callers, rounds)?;
        found.calls(report, "redis", "ours", callers, &ours);
        found.calls(report, "redis", "bare", callers, &bare);
        let shares: Vec<f64> = ours.iter().zip(&bare).map(|(ours, bare)| ours.rate / bare.rate).collect();
        let share: Samples = shares.into_iter().collect();
        let name = format!("ours_of_bare_rpc_{callers}");
        found.figure(report, "redis", &name, &share);
        if callers == 50 {
            report.at_least("redis.ours_of_bare_rpc_50", rounded(share.median()), SHARE_FLOOR);
        }
    }
    for (name, samples) in runtime.block_on(events(&redis, rounds))? {
        found.figure(report, "redis", name, &samples);
    }
    report.put("redis", Value::Object(found.0));
    Ok(())
}

fn measure(
    runtime: &Runtime,
    redis: &Redis,
    callers: usize,
    rounds: usize,
) -> Result<(Vec<Calls>, Vec<Calls>)> {
    let (prefix, bare_prefix) = (redis.fresh_prefix(), redis.fresh_prefix());
    let mut our_worker = Child::start(Side::Ours, redis.url(), &prefix)?;
    let mut bare_worker = Child::start(Side::Bare, redis.url(), &bare_prefix)?;
    let (mut by_us, mut by_bare) = (Vec::new(), Vec::new());
    let bus = runtime.block_on(async { Bus::connect(&ours::config(redis.url(), &prefix)).await })?;
    let bare = runtime.block_on(BareClient::connect(redis.url(), &bare_prefix))?;
    for round in 0..=rounds {
        let ours = of_both(&mut our_worker, || runtime.block_on(calls(callers, ROUND, ours::caller(&bus))))?;
        let bare = bare.clone();
        let call = move || {
            let bare = bare.clone();
            async move { bare.call().await }
        };
        let bare = of_both(&mut bare_worker, || runtime.block_on(calls(callers, ROUND, call)))?;
        if round > 0 {
            by_us.push(ours);
            by_bare.push(bare);
        }
    }
    runtime.block_on(bus.close(Duration::from_secs(1)));
    Ok((by_us, by_bare))
}

/// With what the worker has used, too.
fn of_both(worker: &mut Child, round: impl FnOnce() -> Result<Calls>) -> Result<Calls> {
    let before = worker.cpu_nanos()?;
    let calls = round()?;
    let used = worker.cpu_nanos()? - before;
    Ok(Calls { cpu: calls.cpu + used as f64 / 1_000.0 / calls.count as f64, ..calls })
}

async fn events(redis: &Redis, rounds: usize) -> Result<Vec<(&'static str, Samples)>> {
    let [mut fired, mut consumed, mut cpu] = [const { Vec::new() }; 3];
    for round in 0..=rounds.div_ceil(2) {
        let bus = Bus::connect(&ours::config(redis.url(), &redis.fresh_prefix())).await?;
        let heard = ours::Heard::default();
        let (start, cpu_before) = (Instant::now(), process_nanos());
        ours::fire(&bus, 50, EVENTS / 50).await?;
        let between = Instant::now();
        heard.all(&bus, "bench", EVENTS).await?;
        let end = Instant::now();
        if round > 0 {
            fired.push(EVENTS as f64 / (between - start).as_secs_f64());
            consumed.push(EVENTS as f64 / (end - between).as_secs_f64());
            cpu.push((process_nanos() - cpu_before) as f64 / 1_000.0 / EVENTS as f64);
        }
        bus.close(Duration::from_secs(1)).await;
    }
    let samples = |values: Vec<f64>| values.into_iter().collect::<Samples>();
    Ok(vec![
        ("ours_fired_per_s", samples(fired)),
        ("ours_consumed_per_s", samples(consumed)),
        ("ours_event_cpu_us", samples(cpu)),
    ])
}

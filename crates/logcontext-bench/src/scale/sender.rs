//! One sender, with one destination, with a hundred and with a thousand.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use logcontext_bus::{Bus, BusConfig, Event};
use logcontext_testservers::Redis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::runtime::Builder;

use super::hubs::Hubs;
use super::process::{Machine, Presence};
use crate::Effort;
use crate::report::{Report, rounded};
use crate::stats::Samples;

/// How many destinations there are, and how many events are fired then.
const SIZES: [(usize, u64); 3] = [(1, 50_000), (100, 5_000), (1_000, 1_000)];
const ROUNDS: usize = 3;

/// So many fire side by side.
const TASKS: u64 = 50;

/// As `presence` says it on its bus.
#[derive(Deserialize, JsonSchema, Serialize)]
struct PresenceChanged {
    user: String,
    presence: Cow<'static, str>,
    last_active: u64,
    revision: u64,
}

impl Event for PresenceChanged {
    const NAME: &'static str = "presence.changed";
    const PARTITIONS: u16 = 8;

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.user))
    }
}

pub(super) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    report.section("A sender of presence: a second, microseconds of its CPU");
    let redis = match Redis::start_in_memory() {
        Ok(redis) => redis,
        Err(missing) => {
            report.note(&format!("not measured: {missing}"));
            return Ok(());
        }
    };
    let mut all = Map::new();
    for (destinations, events) in SIZES {
        let rounds =
            (0..effort.of(ROUNDS)).map(|_| round(&redis, destinations, effort.of(events as usize) as u64));
        let rounds = rounds.collect::<Result<Vec<_>>>()?;
        let mut found = Map::new();
        for (name, get) in FIGURES {
            let samples: Samples = rounds.iter().map(get).collect();
            report.line(&format!("sender.{destinations}.{name}"), samples.spread(), None);
            found.insert(name.to_owned(), rounded(samples.median()).into());
        }
        all.insert(destinations.to_string(), Value::Object(found));
    }
    report.put("sender", Value::Object(all));
    Ok(())
}

struct Round {
    events: f64,
    states: f64,
    transactions: f64,
    time: Duration,
    cpu: Duration,
    idle: f64,
}

type Get = fn(&Round) -> f64;

const FIGURES: [(&str, Get); 7] = [
    ("events_per_second", |round| round.events / round.time.as_secs_f64()),
    ("states_per_second", |round| round.states / round.time.as_secs_f64()),
    ("transactions_per_second", |round| round.transactions / round.time.as_secs_f64()),
    ("states_per_transaction", |round| round.states / round.transactions),
    ("cpu_us_per_state", |round| round.cpu.as_secs_f64() * 1e6 / round.states),
    ("processors_of_the_sender", |round| round.cpu.as_secs_f64() / round.time.as_secs_f64()),
    ("idle", |round| round.idle),
];

fn round(redis: &Redis, destinations: usize, events: u64) -> Result<Round> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let prefix = redis.fresh_prefix();
    let (url, hubs) = (redis.url(), runtime.block_on(Hubs::start(destinations))?);
    let config = format!(
        "[presence]\nrole = \"sender\"\n[presence.bus]\nurl = \"{url}\"\nprefix = \"{prefix}\"\n\
        [presence.federation]\nhub = \"one\"\n{}",
        hubs.config()
    );
    let sender = Presence::start(&config)?;
    let round = runtime.block_on(async {
        let bus = Bus::connect(&BusConfig { prefix, ..BusConfig::new("bench", url) }).await?;
        begin(&bus, &hubs).await?;
        let round = measure(&bus, &hubs, &sender, events).await;
        bus.close(Duration::from_secs(5)).await;
        round
    })?;
    sender.end()?;
    Ok(round)
}

/// Fires until each hub has heard: by then somebody listens for each of them.
async fn begin(bus: &Bus, hubs: &Hubs) -> Result<()> {
    let begun = Instant::now();
    let mut revision = 0;
    while tokio::time::timeout(Duration::from_millis(500), hubs.wait_for(1)).await.is_err() {
        ensure!(begun.elapsed() < Duration::from_secs(60), "not all hubs are told of anything");
        revision += 1;
        fire(bus, "first", revision).await?;
    }
    // What is on its way arrives.
    let mut told = hubs.told();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = hubs.told();
        if now == told {
            return Ok(());
        }
        told = now;
    }
}

async fn measure(bus: &Bus, hubs: &Hubs, sender: &Presence, events: u64) -> Result<Round> {
    let (before, cpu, machine, begun) = (hubs.told(), sender.cpu()?, Machine::look()?, Instant::now());
    let next = Arc::new(AtomicU64::new(0));
    let tasks = (0..TASKS).map(|_| {
        let next = Arc::clone(&next);
        async move {
            loop {
                let n = next.fetch_add(1, Relaxed);
                if n >= events {
                    return anyhow::Ok(());
                }
                fire(bus, &format!("user-{n}"), 1).await?;
            }
        }
    });
    try_join_all(tasks).await?;
    // Each has been told of the first one, once at least.
    hubs.wait_for(events + 1).await?;
    let (time, after) = (begun.elapsed(), hubs.told());
    Ok(Round {
        events: events as f64,
        states: (after.0 - before.0) as f64,
        transactions: (after.1 - before.1) as f64,
        time,
        cpu: sender.cpu()?.saturating_sub(cpu),
        idle: machine.idle_since()?,
    })
}

async fn fire(bus: &Bus, user: &str, revision: u64) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let last_active = u64::try_from(now.as_millis())?;
    bus.fire(&PresenceChanged { user: user.to_owned(), presence: "online".into(), last_active, revision })
        .await?;
    Ok(())
}

//! What a message costs: calls and events, in one process, over Redis and over NATS, next to the least that does the same.

mod bare_nats;
mod bare_redis;
mod cost_home;
mod events;
mod load;
mod memory;
mod message;
mod ours;
mod over;
mod worker;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::Effort;
use crate::report::{Report, rounded};
use crate::stats::Samples;
use load::Calls;
use logcontext_testservers::{Nats, Redis};
use over::Broker;

pub(crate) use worker::serve;

/// At least so much of what the bare loop does, over Redis.
const SHARE_FLOOR: f64 = 0.6;
/// At least so many calls a second, in one process.
const MEMORY_FLOOR: f64 = 400_000.0;
/// The slowest call but one in a hundred, at 50 callers, in microseconds.
const P99_CEILING: f64 = 2_000.0;

/// The worker of a round, in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// logcontext-bus
    Ours,
    /// redis-rs and serde_json, and nothing else
    Bare,
}

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    memory::run(report, effort)?;
    cost_home::run(report, effort)?;
    report.section("Over Redis: calls and events a second, microseconds");
    match Redis::start_in_memory() {
        Ok(redis) => {
            let prefix = || redis.fresh_prefix();
            let broker = Broker { url: redis.url(), prefix: &prefix, floor: Some(SHARE_FLOOR) };
            over::run::<bare_redis::BareClient>(report, effort, &broker)?;
        }
        Err(missing) => report.note(&format!("not measured: {missing}")),
    }
    report.section("Over NATS: calls and events a second, microseconds");
    match Nats::start() {
        Ok(nats) => {
            let broker = Broker { url: nats.url(), prefix: &|| nats.fresh_prefix(), floor: None };
            over::run::<bare_nats::BareClient>(report, effort, &broker)?;
        }
        Err(missing) => report.note(&format!("not measured: {missing}")),
    }
    report.put(
        "method",
        json!({
            "call": "32 bytes that come back, from so many callers, each of which calls again as soon as it has its answer; JSON there and back; ours with contexts, accounting, schemas and deadlines",
            "memory": "one process, two workers; bare is a channel, a spawned task and a oneshot for each call, with the same JSON",
            "redis": "callers in one process, handlers in another, Redis without persistence; bare is a stream for requests, read in batches without acknowledgement, a spawned task for each, pub/sub for answers, over connections that many share",
            "nats": "the same over NATS: bare is async-nats and a JetStream stream in memory for requests, pulled in batches without acknowledgement, a spawned task for each, plain messages for answers; events are on disk",
            "events": "fired from 50 tasks, each of which waits until the broker has it; consumed from a backlog, acknowledged after the handler",
            "cost_home": "calls from 50 callers in one process whose answers say what they have cost, and the same without, in rounds that take turns; the overhead is the median of the differences",
            "cpu": "CLOCK_PROCESS_CPUTIME_ID of all processes but the broker's",
            "rates": "medians of rounds that take turns",
        }),
    );
    Ok(())
}

/// The figures of one transport.
#[derive(Default)]
struct Found(Map<String, Value>);

impl Found {
    fn put(&mut self, name: &str, samples: &Samples) {
        self.0.insert(name.to_owned(), rounded(samples.median()).into());
    }

    /// A rate, how long calls took, and what one costs.
    fn calls(&mut self, report: &mut Report, section: &str, side: &str, callers: usize, rounds: &[Calls]) {
        let of = |get: fn(&Calls) -> f64| rounds.iter().map(get).collect::<Samples>();
        for (suffix, samples) in [
            ("", of(|calls| calls.rate)),
            ("_p50_us", of(|calls| calls.p50)),
            ("_p99_us", of(|calls| calls.p99)),
            ("_cpu_us", of(|calls| calls.cpu)),
        ] {
            let name = format!("{side}_rpc_{callers}{suffix}");
            let is_bounded = suffix == "_p99_us" && side == "ours" && callers == 50;
            let ceiling = is_bounded.then_some(P99_CEILING);
            report.line(&format!("{section}.{name}"), samples.spread(), ceiling);
            self.put(&name, &samples);
        }
    }

    fn figure(&mut self, report: &mut Report, section: &str, name: &str, samples: &Samples) {
        report.line(&format!("{section}.{name}"), samples.spread(), None);
        self.put(name, samples);
    }
}

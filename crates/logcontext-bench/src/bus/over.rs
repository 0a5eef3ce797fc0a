//! Over a broker, between two processes.

use std::time::Duration;

use anyhow::Result;
use logcontext_bus::Bus;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::events::events;
use super::load::{Calls, calls};
use super::{Found, Side, ours, worker};
use crate::Effort;
use crate::child::Child;
use crate::report::{Report, rounded};
use crate::stats::Samples;

const ROUND: Duration = Duration::from_secs(1);
const EVENTS: u64 = 30_000;

/// The least that does the same as ours.
pub(super) trait Bare: Clone + Send + 'static {
    /// What its broker is called in the report.
    const SECTION: &str;

    fn connect(url: &str, prefix: &str) -> impl Future<Output = Result<Self>>;

    fn call(&self) -> impl Future<Output = Result<()>> + Send;
}

/// A broker that runs.
pub(super) struct Broker<'a> {
    pub(super) url: &'a str,
    pub(super) prefix: &'a dyn Fn() -> String,
    /// At least so much of what the bare loop does at 50 callers
    pub(super) floor: Option<f64>,
}

pub(super) fn run<B: Bare>(report: &mut Report, effort: Effort, broker: &Broker<'_>) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut found = Found::default();
    let rounds = effort.of(8);
    for callers in [1, 50] {
        let (ours, bare) = measure::<B>(&runtime, broker, callers, rounds)?;
        found.calls(report, B::SECTION, "ours", callers, &ours);
        found.calls(report, B::SECTION, "bare", callers, &bare);
        let shares: Vec<f64> = ours.iter().zip(&bare).map(|(ours, bare)| ours.rate / bare.rate).collect();
        let share: Samples = shares.into_iter().collect();
        let name = format!("ours_of_bare_rpc_{callers}");
        found.figure(report, B::SECTION, &name, &share);
        if let (50, Some(floor)) = (callers, broker.floor) {
            report.at_least(&format!("{}.{name}", B::SECTION), rounded(share.median()), floor);
        }
    }
    for (name, samples) in runtime.block_on(events(broker.url, broker.prefix, EVENTS, rounds))? {
        found.figure(report, B::SECTION, name, &samples);
    }
    report.put(B::SECTION, Value::Object(found.0));
    Ok(())
}

fn measure<B: Bare>(
    runtime: &Runtime,
    broker: &Broker<'_>,
    callers: usize,
    rounds: usize,
) -> Result<(Vec<Calls>, Vec<Calls>)> {
    let (prefix, bare_prefix) = ((broker.prefix)(), (broker.prefix)());
    let mut our_worker = worker::start(Side::Ours, broker.url, &prefix)?;
    let mut bare_worker = worker::start(Side::Bare, broker.url, &bare_prefix)?;
    let (mut by_us, mut by_bare) = (Vec::new(), Vec::new());
    let bus = runtime.block_on(async { Bus::connect(&ours::config(broker.url, &prefix)).await })?;
    let bare = runtime.block_on(B::connect(broker.url, &bare_prefix))?;
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

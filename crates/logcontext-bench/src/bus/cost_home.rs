//! What it costs that a call's cost comes home: calls in one process whose answers say it, and the same without.

use std::time::Duration;

use anyhow::Result;
use logcontext_bus::{Bus, BusConfig};
use tokio::runtime::Builder;

use super::load::calls;
use super::ours;
use crate::Effort;
use crate::report::Report;
use crate::stats::Samples;

/// Short, so that most pairs are not disturbed.
const ROUND: Duration = Duration::from_millis(100);
const CALLERS: usize = 50;
/// CPU that it may cost a call, in microseconds.
const CEILING: f64 = 2.0;

pub(super) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    report.section("Costs that come home, in one process: CPU a call, microseconds");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rounds = effort.of(60);
    #[expect(clippy::disallowed_methods, reason = "the benchmark itself")]
    let pairs = runtime.block_on(async move { tokio::spawn(measure(rounds)).await? })?;
    let overhead: Samples = pairs.iter().map(|(with, without)| with - without).collect();
    let (with, without): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    report.figure("cost_home_call_us", with.into_iter().collect::<Samples>().spread());
    report.figure("cost_home_call_without_us", without.into_iter().collect::<Samples>().spread());
    report.bounded("cost_home_overhead_us", overhead.spread(), CEILING);
    Ok(())
}

/// CPU of a call with its cost and without, in rounds that take turns.
async fn measure(rounds: usize) -> Result<Vec<(f64, f64)>> {
    let bus = |costs_in_replies| BusConfig { costs_in_replies, ..ours::config("memory:", "bench") };
    let with = Bus::connect(&bus(true)).await?;
    let without = Bus::connect(&bus(false)).await?;
    for bus in [&with, &without] {
        ours::serve_echo(bus).await?;
    }
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let with = async || anyhow::Ok(calls(CALLERS, ROUND, ours::caller(&with)).await?.cpu);
        let without = async || anyhow::Ok(calls(CALLERS, ROUND, ours::caller(&without)).await?.cpu);
        // Neither is always the second.
        let pair = if round % 2 == 0 {
            let first = with().await?;
            (first, without().await?)
        } else {
            let first = without().await?;
            (with().await?, first)
        };
        if round > 0 {
            pairs.push(pair);
        }
    }
    with.close(Duration::from_secs(1)).await;
    without.close(Duration::from_secs(1)).await;
    Ok(pairs)
}

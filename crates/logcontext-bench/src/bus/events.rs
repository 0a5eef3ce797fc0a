//! Events: how many are fired and consumed in a second, whatever carries them.

use std::time::{Duration, Instant};

use anyhow::Result;
use logcontext_bus::Bus;

use super::ours;
use crate::cpu::process_nanos;
use crate::stats::Samples;

/// Fires so many from a backlog and consumes them, so often, each time under another prefix.
pub(super) async fn events(
    url: &str,
    prefix: impl Fn() -> String,
    count: u64,
    rounds: usize,
) -> Result<Vec<(&'static str, Samples)>> {
    let [mut fired, mut consumed, mut cpu] = [const { Vec::new() }; 3];
    for round in 0..=rounds.div_ceil(2) {
        let bus = Bus::connect(&ours::config(url, &prefix())).await?;
        // A group that reads nothing yet keeps them.
        let heard = ours::Heard::default();
        let (start, cpu_before) = (Instant::now(), process_nanos());
        ours::fire(&bus, 50, count / 50).await?;
        let between = Instant::now();
        heard.all(&bus, "bench", count).await?;
        let end = Instant::now();
        if round > 0 {
            fired.push(count as f64 / (between - start).as_secs_f64());
            consumed.push(count as f64 / (end - between).as_secs_f64());
            cpu.push((process_nanos() - cpu_before) as f64 / 1_000.0 / count as f64);
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

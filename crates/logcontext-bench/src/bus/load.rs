//! The load: callers, each of which calls again as soon as it has its answer.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cpu::process_nanos;

/// How a round of calls went.
pub(super) struct Calls {
    /// A second.
    pub(super) rate: f64,
    /// Half of them took at most so many microseconds.
    pub(super) p50: f64,
    /// All but one in a hundred.
    pub(super) p99: f64,
    /// Microseconds of this process's CPU for each.
    pub(super) cpu: f64,
    pub(super) count: u64,
}

/// Calls for so long, from so many tasks.
#[expect(clippy::disallowed_methods, reason = "a caller is nobody's; what it calls for has its own context")]
pub(super) async fn calls<C, F>(callers: usize, time: Duration, call: C) -> Result<Calls>
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let (start, cpu) = (Instant::now(), process_nanos());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(1 << 16);
                let mut before = Instant::now();
                while before.duration_since(start) < time {
                    call().await?;
                    let now = Instant::now();
                    took.push((now - before).as_nanos() as u64);
                    before = now;
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.context("a caller panicked")??);
    }
    let (elapsed, cpu) = (start.elapsed(), process_nanos() - cpu);
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize] as f64 / 1_000.0;
    let count = took.len() as u64;
    Ok(Calls {
        rate: count as f64 / elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        cpu: cpu as f64 / 1_000.0 / count as f64,
        count,
    })
}

//! In one process.

use std::time::Duration;

use anyhow::Result;
use logcontext_bus::Bus;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use super::events::events;
use super::load::{Calls, calls};
use super::message::Echo;
use super::{Found, MEMORY_FLOOR, ours};
use crate::Effort;
use crate::report::Report;

const ROUND: Duration = Duration::from_millis(500);
const EVENTS: u64 = 100_000;

pub(super) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    report.section("In one process: calls and events a second, microseconds");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut found = Found::default();
    runtime.block_on(async {
        // As in a service, nothing of it runs on the thread that waits for the end.
        #[expect(clippy::disallowed_methods, reason = "the benchmark itself")]
        let done = tokio::spawn({
            let rounds = effort.of(10);
            async move {
                let mut by_callers = Vec::new();
                for callers in [1, 50] {
                    by_callers.push((callers, measure(callers, rounds).await?));
                }
                anyhow::Ok((by_callers, events("memory:", || "bench".to_owned(), EVENTS, rounds).await?))
            }
        });
        let (by_callers, events) = done.await??;
        for (callers, (ours, bare)) in &by_callers {
            found.calls(report, "memory", "ours", *callers, ours);
            found.calls(report, "memory", "bare", *callers, bare);
        }
        for (name, samples) in &events {
            found.figure(report, "memory", name, samples);
        }
        let rate = found.0["ours_rpc_50"].as_f64().unwrap_or_default();
        report.at_least("memory.ours_rpc_50", rate, MEMORY_FLOOR);
        anyhow::Ok(())
    })?;
    report.put("memory", Value::Object(found.0));
    Ok(())
}

async fn measure(callers: usize, rounds: usize) -> Result<(Vec<Calls>, Vec<Calls>)> {
    let bus = Bus::connect(&ours::config("memory:", "bench")).await?;
    ours::serve_echo(&bus).await?;
    let bare = Bare::start();
    let (mut by_us, mut by_bare) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let ours = calls(callers, ROUND, ours::caller(&bus)).await?;
        let bare = bare.clone();
        let bare = calls(callers, ROUND, move || {
            let bare = bare.clone();
            async move { bare.call().await }
        });
        let bare = bare.await?;
        if round > 0 {
            by_us.push(ours);
            by_bare.push(bare);
        }
    }
    bus.close(Duration::from_secs(1)).await;
    Ok((by_us, by_bare))
}

/// A channel, a task and a oneshot for each call, and its JSON.
#[derive(Clone)]
struct Bare(mpsc::Sender<(Vec<u8>, oneshot::Sender<Vec<u8>>)>);

impl Bare {
    #[expect(clippy::disallowed_methods, reason = "what is bare has no context")]
    fn start() -> Self {
        let (send, mut requests) = mpsc::channel::<(Vec<u8>, oneshot::Sender<Vec<u8>>)>(10_000);
        tokio::spawn(async move {
            while let Some((request, reply)) = requests.recv().await {
                tokio::spawn(async move {
                    if let Ok(echo) = serde_json::from_slice::<Echo>(&request)
                        && let Ok(answer) = serde_json::to_vec(&echo)
                    {
                        let _ = reply.send(answer);
                    }
                });
            }
        });
        Self(send)
    }

    async fn call(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.0.send((serde_json::to_vec(&Echo::new())?, reply)).await?;
        let answer: Echo = serde_json::from_slice(&answer.await?)?;
        anyhow::ensure!(answer == Echo::new(), "another answer came back");
        Ok(())
    }
}

//! What a background process costs beyond a bare task.

use std::time::Instant;

use logcontext::background;
use tokio::runtime::{Builder, Runtime};

use crate::Effort;
use crate::report::Report;
use crate::stats::Samples;

const PER_ROUND: u32 = 100;
/// Run and finish of an empty background process, less a bare spawn, in microseconds.
const CEILING: f64 = 1.5;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Background processes, in microseconds");
    let rounds = effort.of(1_000);
    let single = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let multi = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (bare, ours) = measure(&multi, rounds);
    report.figure("bare_spawn_us", bare.spread());
    report.bounded("background_over_spawn_us", ours.zip(&bare, |ours, bare| ours - bare).spread(), CEILING);
    let (bare, ours) = measure(&single, rounds);
    report.figure("bare_spawn_current_thread_us", bare.spread());
    report.bounded(
        "background_over_spawn_current_thread_us",
        ours.zip(&bare, |ours, bare| ours - bare).spread(),
        CEILING,
    );
}

/// Rounds of each in turn, driven by a task of the runtime: what it spawns stays on its worker.
#[expect(clippy::disallowed_methods, reason = "the bare task is what we compare with")]
fn measure(runtime: &Runtime, rounds: usize) -> (Samples, Samples) {
    let driver = runtime.spawn(async move {
        let (mut bare, mut ours) = (Samples::default(), Samples::default());
        for round in 0..=rounds {
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                tokio::spawn(async {}).await.expect("an empty task");
            }
            let between = Instant::now();
            for _ in 0..PER_ROUND {
                background::run("bench", async {}).await.expect("an empty process");
            }
            let end = Instant::now();
            if round > 0 {
                bare.push((between - start).as_secs_f64() * 1e6 / f64::from(PER_ROUND));
                ours.push((end - between).as_secs_f64() * 1e6 / f64::from(PER_ROUND));
            }
        }
        (bare, ours)
    });
    runtime.block_on(driver).expect("the driver")
}

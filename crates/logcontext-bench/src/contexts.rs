//! Making contexts, keeping many, and switching between them.

use std::fs;
use std::hint::black_box;

use logcontext::LogContext;
use logcontext::bench::context_bytes;
use serde_json::{Map, Value};

use crate::Effort;
use crate::report::{Report, rounded};
use crate::rounds::in_turn;
use crate::switches::repeat;

const MANY: usize = 100_000;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Contexts, in nanoseconds and bytes");
    memory(report);
    creation(report, effort);
    among_many(report, effort);
}

fn start(number: usize) -> LogContext {
    LogContext::builder(format!("GET-{number}")).label("bench").start()
}

/// What the types add up to, and what the process has really grown by. The latter has the name's allocation and
/// the allocator's own bytes in it.
fn memory(report: &mut Report) {
    let mut contexts = Vec::with_capacity(MANY);
    // The vector's own memory: not on the contexts' bill.
    contexts.resize(MANY, LogContext::sentinel());
    let before = resident_bytes();
    for (number, context) in contexts.iter_mut().enumerate() {
        *context = start(number);
    }
    let grown = before.zip(resident_bytes()).map(|(before, after)| (after - before) / MANY as f64);
    drop(contexts);

    let bytes = context_bytes() as f64;
    report.bounded("context_bytes", [bytes].into_iter().collect::<crate::stats::Samples>().spread(), 320.0);
    if let Some(grown) = grown {
        let grown: crate::stats::Samples = [grown].into_iter().collect();
        report.bounded("context_rss_bytes", grown.spread(), 320.0);
    }
}

/// Memory of this process that is in RAM; `None` where the system does not say.
pub(crate) fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024.0)
}

/// Make, label, finish, drop: everything that a request pays for having a context, the entry in the table and
/// the label's totals included. Once with a name that is allocated, as requests have, once with a static one.
fn creation(report: &mut Report, effort: Effort) {
    let name = String::from("GET-17");
    let [owned, fixed] = in_turn(
        effort.of(1_000),
        300,
        [
            &mut |n| {
                repeat(n, || LogContext::builder(name.clone()).label("bench").start().finish());
            },
            &mut |n| {
                repeat(n, || LogContext::builder("GET-17").label("bench").start().finish());
            },
        ],
    );
    report.bounded("create_finish_ns", owned.spread(), 150.0);
    report.bounded("create_finish_static_ns", fixed.spread(), 150.0);
}

/// A switch into the same context while so many others live, and into each of them in turn. The latter misses
/// the caches once there are many: that is memory, not bookkeeping.
fn among_many(report: &mut Report, effort: Effort) {
    let (mut same, mut each) = (Map::new(), Map::new());
    for live in [1, 1_000, MANY] {
        let contexts: Vec<LogContext> = (0..live).map(start).collect();
        let first = &contexts[0];
        let mut turn = contexts.iter().cycle();
        let [one, all] = in_turn(
            effort.of(1_000),
            1_000,
            [&mut |n| repeat(n, || first.scope(|| black_box(()))), &mut |n| {
                repeat(n, || {
                    if let Some(context) = turn.next() {
                        context.scope(|| black_box(()));
                    }
                });
            }],
        );
        report.line(&format!("switch among {live}, the same one"), one.spread(), None);
        report.line(&format!("switch among {live}, each in turn"), all.spread(), None);
        same.insert(live.to_string(), rounded(one.median()).into());
        each.insert(live.to_string(), rounded(all.median()).into());
    }
    report.put("switch_ns_at_live_contexts", Value::Object(same));
    report.put("switch_ns_round_robin_at_live_contexts", Value::Object(each));
}

//! How long a scrape takes, by how many contexts live.

use std::hint::black_box;

use logcontext::Supervisor;
use logcontext_metrics::{Exporter, Format};
use serde_json::{Map, Value};

use super::live;
use crate::Effort;
use crate::report::{Report, rounded};
use crate::rounds::in_turn;
use crate::stats::Samples;

/// At 10,000 live contexts, in milliseconds
const CEILING: f64 = 20.0;
const CEILING_AT: usize = 10_000;

pub(super) fn run(report: &mut Report, effort: Effort) {
    report.section("A scrape, in milliseconds");
    let mut found = Map::new();
    for (count, rounds) in [(100, 200), (10_000, 100), (100_000, 30)] {
        let service = Supervisor::new("bench");
        let contexts = live(&service, count);
        let exporter = Exporter::new(&service);
        let mut bytes = 0;
        let [nanos] = in_turn(
            effort.of(rounds),
            1,
            [&mut |_| bytes = black_box(exporter.render(Format::Prometheus)).len()],
        );
        let millis: Samples = nanos.values().iter().map(|nanos| nanos / 1e6).collect();
        let ceiling = (count == CEILING_AT).then_some(CEILING);
        report.line(&format!("scrape_ms_at {count} ({bytes} bytes)"), millis.spread(), ceiling);
        found.insert(count.to_string(), rounded(millis.median()).into());
        drop(contexts);
    }
    report.put("scrape_ms_at", Value::Object(found));
}

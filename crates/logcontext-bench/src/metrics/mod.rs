//! Scrapes: how long they take, whom they hold up, and what a request costs where somebody scrapes.

mod held_up;
mod requests;
mod scrapes;

use anyhow::Result;
use logcontext::{ContextKind, LogContext, Supervisor};
use serde_json::json;

use crate::Effort;
use crate::report::Report;

/// Requests of so many labels
const LABELS: usize = 100;

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    scrapes::run(report, effort);
    held_up::run(report, effort);
    let apart = requests::run(report, effort)?;
    report.put(
        "method",
        json!({
            "scrape_ms_at": "time to render Prometheus's text, by live contexts: requests with a label, none of which runs",
            "labels": LABELS,
            "held_up": held_up::method(),
            "requests": "as `bench http`: CPU of a request over bare axum's, 16 connections; ours has access lines in JSON to a file, and is scraped once a second over a connection of its own, also while others are asked",
            "servers_have_a_processor_of_their_own": apart,
        }),
    );
    Ok(())
}

/// So many requests that live.
fn live(service: &Supervisor, count: usize) -> Vec<LogContext> {
    let labels: Vec<String> = (0..LABELS).map(|number| format!("GET /bench/{number}")).collect();
    let start = |number: usize| {
        let request = service.context(format!("GET-{number}")).kind(ContextKind::Request);
        request.label(&labels[number % LABELS]).start()
    };
    (0..count).map(start).collect()
}

//! [`Balance`]: the books, with the contexts by what they stand for.

use std::time::Duration;

use logcontext::{Books, ContextKind, LabelTotals};
use serde::Serialize;

use super::report::seconds;

/// Where the CPU of the process went: all parts together are the process.
#[derive(Debug, Serialize)]
pub(super) struct Balance {
    pub(super) parts: Vec<Part>,
    #[serde(serialize_with = "seconds")]
    pub(super) process: Duration,
    /// Of the contexts, what threads of the database's driver burned for them.
    #[serde(serialize_with = "seconds")]
    pub(super) by_drivers: Duration,
    pub(super) unaccounted_percent: f64,
    pub(super) known_threads: usize,
    pub(super) discrepancy_percent: f64,
}

/// One line of the books.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    pub(super) name: &'static str,
    #[serde(serialize_with = "seconds")]
    pub(super) cpu: Duration,
}

impl Balance {
    pub(super) fn new(
        books: &Books,
        service: &[LabelTotals],
        second: &[LabelTotals],
        clients: &[LabelTotals],
        log: &[LabelTotals],
    ) -> Self {
        let mut parts = vec![
            Part { name: "requests", cpu: cpu_of(service, Some(ContextKind::Request)) },
            Part { name: "connections", cpu: cpu_of(service, Some(ContextKind::Connection)) },
            Part { name: "background processes", cpu: cpu_of(service, Some(ContextKind::Background)) },
            Part { name: "accepting, start, shutdown", cpu: cpu_of(service, Some(ContextKind::Task)) },
            Part { name: "the second hub", cpu: cpu_of(second, None) },
            Part { name: "writing the log", cpu: cpu_of(log, None) },
            Part { name: "the demo's clients", cpu: cpu_of(clients, None) },
        ];
        let named: Duration = parts.iter().map(|part| part.cpu).sum();
        let rest = Rest::of(books);
        parts.extend([
            Part { name: "other contexts", cpu: (books.contexts() + books.open()).saturating_sub(named) },
            Part { name: "sentinel", cpu: books.sentinel() },
            Part { name: "meter", cpu: books.meter() },
            Part { name: "foreign threads", cpu: rest.foreign },
            Part { name: "before the first context", cpu: books.before() },
            Part { name: "unaccounted", cpu: rest.unaccounted },
        ]);
        let since = books.process().saturating_sub(books.before());
        Self {
            parts,
            process: books.process(),
            by_drivers: books.charged_by_adapters(),
            unaccounted_percent: share(rest.unaccounted, since),
            known_threads: books.threads().0,
            discrepancy_percent: books.discrepancy_percent(),
        }
    }
}

/// What no thread of ours has burned, less what is charged to contexts all the same: what a driver's threads
/// burned for them. Those that live are among the foreign ones, and those that have ended are nowhere.
struct Rest {
    foreign: Duration,
    unaccounted: Duration,
}

impl Rest {
    fn of(books: &Books) -> Self {
        let (foreign, charged) = (books.foreign_threads_cpu(), books.charged_by_adapters());
        Self {
            foreign: foreign.saturating_sub(charged),
            unaccounted: books.unaccounted().saturating_sub(charged.saturating_sub(foreign)),
        }
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() * 100.0 }
}

/// A slice that is open still, such as that of a thread which never leaves its context, is its context's.
fn cpu_of(totals: &[LabelTotals], kind: Option<ContextKind>) -> Duration {
    roots(totals, kind).map(|row| row.usage.cpu().unwrap_or_default() + row.open_cpu).sum()
}

/// The contexts that are no part of others: each CPU second is in one of them.
fn roots(totals: &[LabelTotals], kind: Option<ContextKind>) -> impl Iterator<Item = &LabelTotals> {
    let parts = [ContextKind::Block, ContextKind::Nested];
    totals.iter().filter(move |row| kind.map_or(!parts.contains(&row.kind), |kind| row.kind == kind))
}

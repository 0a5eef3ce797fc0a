//! What the demo has to show: figures out of the service's supervisor, the clients' tally and the books.

use std::path::PathBuf;
use std::time::Duration;

use logcontext::diagnostics::DiagnosticKind;
use logcontext::{ContextKind, LabelTotals, Supervisor};
use logcontext_db::DB_ROWS_FETCHED;
use logcontext_service::Stopped;
use serde::{Serialize, Serializer};

use super::balance::Balance;
use super::driver::Watched;
use super::second::SecondHub;
use super::tally::Tally;

/// All that there is to show. Times are seconds in JSON; what the platform cannot measure is absent.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) clients: usize,
    #[serde(serialize_with = "seconds")]
    pub(super) time: Duration,
    pub(super) requests: Vec<Requests>,
    pub(super) background: Vec<Work>,
    pub(super) connections: Vec<Work>,
    pub(super) slow_polls: SlowPolls,
    pub(super) stream_events: u64,
    pub(super) second_hub: SecondHub,
    pub(super) books: Option<Balance>,
    pub(super) access_lines: Vec<String>,
    pub(super) log: PathBuf,
    #[serde(serialize_with = "seconds")]
    pub(super) shutdown: Duration,
    pub(super) diagnostics: Vec<String>,
    /// What went wrong; the demo fails if anything did.
    pub(super) problems: Vec<String>,
}

/// The requests of one label.
#[derive(Debug, Serialize)]
pub(super) struct Requests {
    #[serde(flatten)]
    pub(super) work: Work,
    /// As the clients see it.
    #[serde(serialize_with = "maybe_seconds")]
    pub(super) p50: Option<Duration>,
    #[serde(serialize_with = "maybe_seconds")]
    pub(super) p99: Option<Duration>,
}

/// The contexts of one label.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Work {
    pub(super) label: String,
    pub(super) count: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) panicked: u64,
    pub(super) cancelled: u64,
    #[serde(serialize_with = "maybe_seconds")]
    pub(super) cpu_user: Option<Duration>,
    #[serde(serialize_with = "maybe_seconds")]
    pub(super) cpu_system: Option<Duration>,
    pub(super) db_transactions: u64,
    #[serde(serialize_with = "seconds")]
    pub(super) db_transaction_time: Duration,
    /// For a connection.
    #[serde(serialize_with = "maybe_seconds")]
    pub(super) db_wait: Option<Duration>,
    pub(super) db_rows: u64,
    /// In background work that outlived the context.
    #[serde(serialize_with = "seconds")]
    pub(super) cpu_after_finish: Duration,
}

/// Polls that kept a worker from its other work.
#[derive(Debug, Serialize)]
pub(super) struct SlowPolls {
    pub(super) blocked: u64,
    pub(super) burned: u64,
    #[serde(serialize_with = "seconds")]
    pub(super) longest: Duration,
}

/// What a report is made of.
pub(super) struct Material<'a> {
    pub(super) service: &'a Supervisor,
    pub(super) clients: &'a Supervisor,
    pub(super) second: &'a Supervisor,
    /// As it was before the hubs were told to end.
    pub(super) second_hub: SecondHub,
    pub(super) second_stopped: &'a Stopped,
    pub(super) number_of_clients: usize,
    pub(super) tally: &'a Tally,
    pub(super) watched: Watched,
    pub(super) stopped: &'a Stopped,
    pub(super) access_lines: Vec<String>,
    pub(super) log: PathBuf,
    pub(super) time: Duration,
    pub(super) shutdown: Duration,
    /// What was found wrong already.
    pub(super) problems: Vec<String>,
}

impl Report {
    pub(super) fn new(material: Material<'_>) -> Self {
        let (service, tally) = (material.service, material.tally);
        // One after the other: all is quiet by now.
        let totals = service.totals();
        let client_totals = material.clients.totals();
        let second_totals = material.second.totals();
        let log_totals = Supervisor::global().totals();
        let books = logcontext::books();
        let slow = service.slow_polls();
        let diagnostics = diagnostics(&[service, material.second, material.clients, &Supervisor::global()]);
        let mut problems = material.problems;
        problems.extend(tally.oddities());
        problems.extend(diagnostics.iter().map(|kind| format!("diagnostic {kind}")));
        problems.extend(lost(&totals, tally, material.stopped));
        problems.extend(material.second_hub.problems(material.second, material.second_stopped));
        Self {
            clients: material.number_of_clients,
            time: material.time,
            requests: rows(&totals, ContextKind::Request)
                .map(|work| Requests {
                    p50: tally.latency(&work.label, 0.5),
                    p99: tally.latency(&work.label, 0.99),
                    work,
                })
                .collect(),
            background: rows(&totals, ContextKind::Background).collect(),
            connections: rows(&totals, ContextKind::Connection).collect(),
            slow_polls: SlowPolls { blocked: slow.blocked, burned: slow.burned, longest: slow.longest },
            stream_events: material.watched.events,
            second_hub: material.second_hub.with_costs(material.second),
            books: books
                .map(|books| Balance::new(&books, &totals, &second_totals, &client_totals, &log_totals)),
            access_lines: material.access_lines,
            log: material.log,
            shutdown: material.shutdown,
            diagnostics,
            problems,
        }
    }
}

impl Work {
    /// With that of another label.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.ok += other.ok;
        self.failed += other.failed;
        self.panicked += other.panicked;
        self.cancelled += other.cancelled;
        self.db_transactions += other.db_transactions;
        self.db_rows += other.db_rows;
        self.db_transaction_time += other.db_transaction_time;
        self.cpu_after_finish += other.cpu_after_finish;
        let both = |a: Option<Duration>, b: Option<Duration>| Some(a? + b?);
        self.cpu_user = both(self.cpu_user, other.cpu_user);
        self.cpu_system = both(self.cpu_system, other.cpu_system);
        self.db_wait = both(self.db_wait, other.db_wait);
    }
}

pub(super) fn rows(totals: &[LabelTotals], kind: ContextKind) -> impl Iterator<Item = Work> {
    let mut rows: Vec<_> = totals.iter().filter(|row| row.kind == kind && row.started > 0).collect();
    rows.sort_by(|a, b| (&a.label.is_none(), &a.label).cmp(&(&b.label.is_none(), &b.label)));
    rows.into_iter().map(|row| Work {
        label: row.label.as_deref().unwrap_or("(no label)").to_owned(),
        count: row.started,
        ok: row.ok,
        failed: row.failed,
        panicked: row.panicked,
        cancelled: row.cancelled,
        cpu_user: row.usage.cpu_user(),
        cpu_system: row.usage.cpu_system(),
        db_transactions: row.usage.db_txn_count,
        db_transaction_time: row.usage.db_txn_duration,
        db_wait: row.usage.db_wait(),
        db_rows: row.usage.counter(&DB_ROWS_FETCHED),
        cpu_after_finish: row.after_finish,
    })
}

/// The kinds that were raised, with how often.
pub(super) fn diagnostics(supervisors: &[&Supervisor]) -> Vec<String> {
    let count = |kind| supervisors.iter().map(|supervisor| supervisor.diagnostics(kind)).sum();
    let counted = DiagnosticKind::ALL.iter().map(|kind| (kind, count(*kind)));
    counted
        .filter(|(_, count): &(_, u64)| *count > 0)
        .map(|(kind, count)| format!("{kind} x {count}"))
        .collect()
}

/// Whatever was started and did not end, or was answered without having been seen.
fn lost(totals: &[LabelTotals], tally: &Tally, stopped: &Stopped) -> Vec<String> {
    let mut lost = lost_in(totals, stopped);
    let requests = totals.iter().filter(|row| row.kind == ContextKind::Request);
    let (seen, counts) = (requests.map(|row| row.started).sum::<u64>(), tally.counts());
    if seen < counts.answered || seen > counts.sent {
        lost.push(format!("{} sent, {seen} seen by the service, {} answered", counts.sent, counts.answered));
    }
    lost
}

/// Whatever was started in a hub and did not end.
pub(super) fn lost_in(totals: &[LabelTotals], stopped: &Stopped) -> Vec<String> {
    let mut lost = Vec::new();
    for row in totals.iter().filter(|row| row.in_flight > 0) {
        let label = row.label.as_deref().unwrap_or("(no label)");
        lost.push(format!("{} {} {label} did not end", row.in_flight, row.kind.name()));
    }
    lost.extend(stopped.aborted.iter().map(|work| format!("aborted at the deadline: {work}")));
    if stopped.cut > 0 {
        lost.push(format!("{} connections cut at the deadline", stopped.cut));
    }
    if stopped.left_open > 0 {
        lost.push(format!("{} connections to the database not closed by the deadline", stopped.left_open));
    }
    lost
}

pub(super) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.as_ref().map(Duration::as_secs_f64).serialize(serializer)
}

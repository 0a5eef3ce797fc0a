//! What a pool counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use logcontext::source::{Collector, Figure, FigureKind, Histogram};

use super::Pool;

#[derive(Debug)]
pub(crate) struct PoolFigures {
    pub(crate) waits: Histogram,
    pub(crate) connects: Histogram,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) queue_full: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) statement_timeouts: AtomicU64,
}

impl Default for PoolFigures {
    fn default() -> Self {
        Self {
            waits: Histogram::seconds(),
            connects: Histogram::seconds(),
            connect_failures: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            queue_full: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            statement_timeouts: AtomicU64::new(0),
        }
    }
}

const WAIT: &str = "db_pool_wait_seconds";
const CONNECT: &str = "db_pool_connect_seconds";
const CONNECTIONS: &str = "db_pool_connections";
const MAX: &str = "db_pool_connections_max";
const WAITING: &str = "db_pool_waiting";
const LONGEST: &str = "db_pool_waiting_longest_seconds";
const CONNECT_FAILURES: &str = "db_pool_connect_failures";
const LOST: &str = "db_pool_connections_lost";
const TIMEOUTS: &str = "db_pool_acquire_timeouts";
const REFUSED: &str = "db_pool_refused";
const STATEMENT_TIMEOUTS: &str = "db_statement_timeouts";

const fn figure(name: &'static str, kind: FigureKind, help: &'static str) -> Figure {
    Figure { name, help, kind }
}

pub(crate) const fn describe() -> [Figure; 11] {
    use FigureKind::{Counter, Gauge, Histogram};
    [
        figure(WAIT, Histogram, "Time spent waiting for a connection of the pool, in the queue alone."),
        figure(CONNECT, Histogram, "Time that opening a connection took."),
        figure(CONNECTIONS, Gauge, "Connections that are open, by what they are doing."),
        figure(MAX, Gauge, "Connections that the pool may open."),
        figure(WAITING, Gauge, "How many wait for a connection now."),
        figure(LONGEST, Gauge, "How long the one who waits longest has waited so far."),
        figure(CONNECT_FAILURES, Counter, "Connections that could not be opened."),
        figure(LOST, Counter, "Connections that were found dead."),
        figure(TIMEOUTS, Counter, "Acquire timeouts: nobody gave a connection back in time."),
        figure(REFUSED, Counter, "Refused at once: too many waited already, or the database was closed."),
        figure(STATEMENT_TIMEOUTS, Counter, "Statements that were cancelled because they took too long."),
    ]
}

pub(crate) fn collect(database: &str, pool: &Pool, out: &mut dyn Collector) {
    let labels = [("database", database), ("pool", &*pool.name)];
    let figures = &pool.figures;
    out.histogram(WAIT, &labels, &figures.waits.read());
    out.histogram(CONNECT, &labels, &figures.connects.read());
    let (idle, in_use) = pool.counts();
    for (state, count) in [("idle", idle), ("in_use", in_use)] {
        out.value(CONNECTIONS, &[labels[0], labels[1], ("state", state)], count as f64);
    }
    out.value(MAX, &labels, pool.max_size() as f64);
    let waiting = pool.waiting();
    out.value(WAITING, &labels, waiting.len() as f64);
    let longest = waiting.first().map_or(0.0, |first| first.since.elapsed().as_secs_f64());
    out.value(LONGEST, &labels, longest);
    for (name, count) in [
        (CONNECT_FAILURES, &figures.connect_failures),
        (LOST, &figures.lost),
        (TIMEOUTS, &figures.timeouts),
        (STATEMENT_TIMEOUTS, &figures.statement_timeouts),
    ] {
        out.value(name, &labels, count.load(Relaxed) as f64);
    }
    for (reason, count) in [("queue_full", &figures.queue_full), ("closed", &figures.closed)] {
        out.value(REFUSED, &[labels[0], labels[1], ("reason", reason)], count.load(Relaxed) as f64);
    }
}

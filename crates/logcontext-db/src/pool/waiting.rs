//! Who waits for a connection, since when, and when it was over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logcontext::LogContext;

use super::PoolFigures;

/// Somebody who waits for a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// Whose request or process it is.
    pub context: LogContext,
    /// Since when.
    pub since: Instant,
    /// The name of the database.
    pub database: Arc<str>,
    /// The name of the pool.
    pub pool: Arc<str>,
    /// The name of the transaction that is to be run on it.
    pub transaction: &'static str,
}

/// The line of one pool.
pub(super) struct Queue(Arc<Line>);

struct Line {
    database: Arc<str>,
    pool: Arc<str>,
    slow: Duration,
    figures: Arc<PoolFigures>,
    next: AtomicU64,
    length: AtomicUsize,
    waiters: Mutex<BTreeMap<u64, Arc<Waiter>>>,
}

struct Waiter {
    number: u64,
    context: LogContext,
    transaction: &'static str,
    since: Instant,
    line: Arc<Line>,
}

impl Queue {
    pub(super) fn new(database: Arc<str>, pool: Arc<str>, slow: Duration, figures: Arc<PoolFigures>) -> Self {
        Self(Arc::new(Line {
            database,
            pool,
            slow,
            figures,
            next: AtomicU64::new(0),
            length: AtomicUsize::new(0),
            waiters: Mutex::default(),
        }))
    }

    /// A place in the line, unless so many are in it already.
    pub(super) fn enter(
        &self,
        context: &LogContext,
        transaction: &'static str,
        limit: usize,
    ) -> Option<InLine> {
        if self.0.length.fetch_add(1, Relaxed) >= limit {
            self.0.length.fetch_sub(1, Relaxed);
            return None;
        }
        let number = self.0.next.fetch_add(1, Relaxed);
        let line = Arc::clone(&self.0);
        let (context, since) = (context.clone(), Instant::now());
        let waiter = Arc::new(Waiter { number, context, transaction, since, line });
        self.0.lock().insert(number, Arc::clone(&waiter));
        Some(InLine(waiter))
    }

    /// All of them, those who came first at the front.
    pub(super) fn list(&self) -> Vec<Waiting> {
        let waiting = |waiter: &Arc<Waiter>| Waiting {
            context: waiter.context.clone(),
            since: waiter.since,
            transaction: waiter.transaction,
            database: Arc::clone(&self.0.database),
            pool: Arc::clone(&self.0.pool),
        };
        self.0.lock().values().map(waiting).collect()
    }
}

impl Line {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Waiter>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line: left when it is dropped, and the waiting is over: there is a connection's place, or nobody
/// wants it any more.
pub(super) struct InLine(Arc<Waiter>);

impl Drop for InLine {
    fn drop(&mut self) {
        let waiter = &*self.0;
        let line = &*waiter.line;
        let wait = waiter.since.elapsed();
        line.lock().remove(&waiter.number);
        line.length.fetch_sub(1, Relaxed);
        waiter.context.record_db_wait(wait);
        line.figures.waits.observe(wait);
        if wait >= line.slow {
            tracing::warn!(
                target: "logcontext::db",
                transaction = waiter.transaction,
                database = &*line.database,
                pool = &*line.pool,
                ?wait,
                context = waiter.context.name(),
                "waited long for a database connection",
            );
        }
    }
}

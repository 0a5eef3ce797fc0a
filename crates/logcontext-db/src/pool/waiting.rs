//! Who waits for a connection, since when, and when it was over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use logcontext::LogContext;

use super::PoolFigures;

tokio::task_local! {
    /// Set while deadpool is asked for a connection that has to be waited for: the pool is told through it when a
    /// place has become free, apart from when the connection in that place is ready.
    pub(super) static WAITER: Arc<Waiter>;
}

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

pub(super) struct Waiter {
    number: u64,
    context: LogContext,
    transaction: &'static str,
    since: Instant,
    over: OnceLock<()>,
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
        let (context, since, over) = (context.clone(), Instant::now(), OnceLock::new());
        let waiter = Waiter { number, context, transaction, since, over, line };
        let waiter = Arc::new(waiter);
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

impl Waiter {
    /// The waiting is over: there is a place, or nobody wants it any more. Once.
    pub(super) fn granted(&self) {
        if self.over.set(()).is_err() {
            return;
        }
        let wait = self.since.elapsed();
        self.line.lock().remove(&self.number);
        self.line.length.fetch_sub(1, Relaxed);
        self.context.record_db_wait(wait);
        self.line.figures.waits.observe(wait);
        if wait >= self.line.slow {
            tracing::warn!(
                target: "logcontext::db",
                transaction = self.transaction,
                database = &*self.line.database,
                pool = &*self.line.pool,
                ?wait,
                context = self.context.name(),
                "waited long for a database connection",
            );
        }
    }
}

/// A place in the line: left when it is dropped.
pub(super) struct InLine(Arc<Waiter>);

impl InLine {
    pub(super) fn waiter(&self) -> Arc<Waiter> {
        Arc::clone(&self.0)
    }

    /// Has a place been given?
    pub(super) fn is_granted(&self) -> bool {
        self.0.over.get().is_some()
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.granted();
    }
}

//! [`Tally`]: what one interaction costs; and the sums by name.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use logcontext::LogContext;
use logcontext::source::{Collector, Figure, FigureKind, Histogram};
use rustc_hash::FxHashMap;

/// How an interaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed,
    Failed,
    Panicked,
    Cancelled,
}

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Committed, "committed"),
    (Outcome::Failed, "failed"),
    (Outcome::Panicked, "panicked"),
    (Outcome::Cancelled, "cancelled"),
];

/// One interaction's: counted once, however often it is tried, whatever becomes of it.
pub(crate) struct Tally {
    context: LogContext,
    name: &'static str,
    sums: Arc<Sums>,
    slow: Duration,
    tries: u32,
    began: Option<Instant>,
    /// Time with a connection, in all tries: neither waiting nor pausing.
    spent: Duration,
    concluded: bool,
}

impl Tally {
    pub(crate) fn begins(&mut self) {
        self.tries += 1;
        self.began = Some(Instant::now());
    }

    /// The try that has just begun was none.
    pub(crate) fn forgets(&mut self) {
        self.tries -= 1;
        self.began = None;
    }

    pub(crate) fn ends(&mut self) {
        if let Some(began) = self.began.take() {
            self.spent += began.elapsed();
        }
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn context(&self) -> &LogContext {
        &self.context
    }

    pub(crate) fn conclude(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        self.concluded = true;
        self.ends();
        if self.tries == 0 {
            // It never got a connection.
            return;
        }
        if !self.context.is_sentinel() {
            self.context.record_db_transaction(self.spent);
        }
        self.sums.outcomes[outcome as usize].fetch_add(1, Relaxed);
        self.sums.tries.fetch_add(self.tries.into(), Relaxed);
        self.sums.seconds.observe(self.spent);
        if self.spent >= self.slow {
            tracing::warn!(
                target: "logcontext::db",
                transaction = self.name,
                duration = ?self.spent,
                tries = self.tries,
                context = self.context.name(),
                "slow database transaction",
            );
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.concluded {
            self.record(Outcome::Cancelled);
        }
    }
}

/// The sums of all transactions of one name.
#[derive(Debug)]
struct Sums {
    outcomes: [AtomicU64; OUTCOMES.len()],
    tries: AtomicU64,
    seconds: Histogram,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            outcomes: [const { AtomicU64::new(0) }; OUTCOMES.len()],
            tries: AtomicU64::new(0),
            seconds: Histogram::seconds(),
        }
    }
}

/// The sums of all names: few, for they are in the code.
#[derive(Debug, Default)]
pub(crate) struct Transactions(RwLock<FxHashMap<&'static str, Arc<Sums>>>);

impl Transactions {
    pub(crate) fn tally(&self, name: &'static str, context: &LogContext, slow: Duration) -> Tally {
        Tally {
            context: context.clone(),
            name,
            sums: self.sums(name),
            slow,
            tries: 0,
            began: None,
            spent: Duration::ZERO,
            concluded: false,
        }
    }

    fn sums(&self, name: &'static str) -> Arc<Sums> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone);
        known.unwrap_or_else(|| {
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(name).or_default())
        })
    }
}

const COUNT: &str = "db_transactions";
const TRIES: &str = "db_transaction_tries";
const SECONDS: &str = "db_transaction_seconds";

pub(crate) const fn describe() -> [Figure; 3] {
    [
        Figure {
            name: COUNT,
            kind: FigureKind::Counter,
            help: "Transactions, each counted once however often it was tried, by how they ended.",
        },
        Figure {
            name: TRIES,
            kind: FigureKind::Counter,
            help: "Tries of transactions: as many as there were transactions, unless some were in each other's way.",
        },
        Figure {
            name: SECONDS,
            kind: FigureKind::Histogram,
            help: "Time in a transaction with a connection, all tries together, waiting apart.",
        },
    ]
}

pub(crate) fn collect(database: &str, transactions: &Transactions, out: &mut dyn Collector) {
    let all: Vec<_> = {
        let all = transactions.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, sums)| (*name, Arc::clone(sums))).collect()
    };
    for (name, sums) in all {
        let labels = [("database", database), ("transaction", name)];
        for (outcome, text) in OUTCOMES {
            let count = sums.outcomes[outcome as usize].load(Relaxed);
            out.value(COUNT, &[labels[0], labels[1], ("outcome", text)], count as f64);
        }
        out.value(TRIES, &labels, sums.tries.load(Relaxed) as f64);
        out.histogram(SECONDS, &labels, &sums.seconds.read());
    }
}

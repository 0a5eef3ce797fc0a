//! [`Tally`]: what one interaction costs; and the sums by name.

use std::borrow::Borrow;
use std::hash::{Hash as _, Hasher as _};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use logcontext::LogContext;
use logcontext::source::{Collector, Figure, FigureKind, Histogram};
use rustc_hash::FxHasher;

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
pub(crate) struct Tally<S: Deref<Target = Sums> = Arc<Sums>, C: Borrow<LogContext> = LogContext> {
    context: C,
    name: &'static str,
    sums: S,
    slow: Duration,
    tries: u32,
    began: Option<Instant>,
    /// Time with a connection, in all tries: neither waiting nor pausing.
    spent: Duration,
    concluded: bool,
}

impl<S: Deref<Target = Sums>, C: Borrow<LogContext>> Tally<S, C> {
    /// Of a transaction of this name, which counts for these sums. Logged if it takes as long as that.
    #[inline]
    pub(crate) fn new(name: &'static str, context: C, sums: S, slow: Duration) -> Self {
        Self { context, name, sums, slow, tries: 0, began: None, spent: Duration::ZERO, concluded: false }
    }

    /// A try has a connection since then.
    pub(crate) fn begins(&mut self, since: Instant) {
        self.tries += 1;
        self.began = Some(since);
    }

    /// The try that has just begun was none.
    pub(crate) fn forgets(&mut self) {
        self.tries -= 1;
        self.began = None;
    }

    pub(crate) fn ends(&mut self) {
        if self.began.is_some() {
            self.ends_at(Instant::now());
        }
    }

    /// The same, for whoever knows already what time it is.
    pub(crate) fn ends_at(&mut self, now: Instant) {
        if let Some(began) = self.began.take() {
            self.spent += now.saturating_duration_since(began);
        }
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn context(&self) -> &C {
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
        let context = self.context.borrow();
        if !context.is_sentinel() {
            context.record_db_transaction(self.spent);
        }
        self.sums.outcomes[outcome as usize].fetch_add(1, Relaxed);
        if self.tries > 1 {
            self.sums.further_tries.fetch_add((self.tries - 1).into(), Relaxed);
        }
        self.sums.seconds.observe(self.spent);
        if self.spent >= self.slow {
            tracing::warn!(
                target: "logcontext::db",
                transaction = self.name,
                duration = ?self.spent,
                tries = self.tries,
                context = context.name(),
                "slow database transaction",
            );
        }
    }
}

impl<S: Deref<Target = Sums>, C: Borrow<LogContext>> Drop for Tally<S, C> {
    fn drop(&mut self) {
        if !self.concluded {
            self.record(Outcome::Cancelled);
        }
    }
}

/// The sums of all transactions of one name.
#[derive(Debug)]
pub(crate) struct Sums {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// Beyond the first ones, of which there are as many as outcomes.
    further_tries: AtomicU64,
    seconds: Histogram,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            outcomes: [const { AtomicU64::new(0) }; OUTCOMES.len()],
            further_tries: AtomicU64::new(0),
            seconds: Histogram::seconds(),
        }
    }
}

/// The sums of all names: few, for they are in the code. A name that is there once stays, so looking for it takes no
/// lock and writes nothing.
#[derive(Debug, Default)]
pub(crate) struct Transactions([Link; CHAINS]);

const CHAINS: usize = 32;

type Link = OnceLock<Box<Named>>;

#[derive(Debug)]
struct Named {
    name: &'static str,
    sums: Arc<Sums>,
    next: Link,
}

impl Transactions {
    pub(crate) fn sums(&self, name: &'static str) -> &Arc<Sums> {
        let mut hasher = FxHasher::default();
        name.hash(&mut hasher);
        let mut link = &self.0[(hasher.finish() >> 32) as usize % CHAINS];
        loop {
            // Whoever else adds one at this moment is asked for its name first.
            let named =
                link.get_or_init(|| Box::new(Named { name, sums: Arc::default(), next: Link::new() }));
            // Nearly always the very same text.
            if std::ptr::eq(named.name, name) || named.name == name {
                return &named.sums;
            }
            link = &named.next;
        }
    }

    fn all(&self) -> impl Iterator<Item = &Named> {
        self.0.iter().flat_map(|first| {
            std::iter::successors(first.get().map(Box::as_ref), |named| named.next.get().map(Box::as_ref))
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
    for Named { name, sums, .. } in transactions.all() {
        let labels = [("database", database), ("transaction", *name)];
        let mut tries = sums.further_tries.load(Relaxed);
        for (outcome, text) in OUTCOMES {
            let count = sums.outcomes[outcome as usize].load(Relaxed);
            tries += count;
            out.value(COUNT, &[labels[0], labels[1], ("outcome", text)], count as f64);
        }
        out.value(TRIES, &labels, tries as f64);
        out.histogram(SECONDS, &labels, &sums.seconds.read());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_sums_of_its_own_and_keeps_them() {
        let names: Vec<&'static str> = (0..200).map(|n| &*format!("name {n}").leak()).collect();
        let transactions = Transactions::default();
        let first: Vec<_> = names.iter().map(|name| Arc::clone(transactions.sums(name))).collect();
        for (name, sums) in names.iter().zip(&first) {
            assert!(Arc::ptr_eq(transactions.sums(name), sums), "{name}");
            // The same text somewhere else in the code is the same name.
            assert!(Arc::ptr_eq(transactions.sums(name.to_string().leak()), sums), "{name}");
            sums.further_tries.fetch_add(1, Relaxed);
        }
        let mut all: Vec<_> = transactions.all().map(|named| named.name).collect();
        all.sort_unstable();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(all, sorted);
        assert!(first.iter().all(|sums| sums.further_tries.load(Relaxed) == 1));
    }

    #[test]
    fn those_who_ask_for_a_name_at_once_get_the_same_sums() {
        let transactions = Transactions::default();
        #[expect(clippy::disallowed_methods, reason = "no context is needed for this")]
        std::thread::scope(|scope| {
            let ask =
                || scope.spawn(|| (0..64).map(|n| Arc::clone(transactions.sums(NAMES[n % 4]))).collect());
            let asked: Vec<Vec<Arc<Sums>>> =
                [ask(), ask(), ask(), ask()].map(|thread| thread.join().unwrap()).into();
            for n in 0..64 {
                assert!(asked.iter().all(|sums| Arc::ptr_eq(&sums[n], &asked[0][n])));
            }
        });
        assert_eq!(transactions.all().count(), NAMES.len());
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
}

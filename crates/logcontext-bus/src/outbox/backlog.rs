//! [`Backlog`]: what waits, and when to say so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logcontext_db::{Database, Error};

use super::entry::Entry;
use super::figures::{Figures, Waiting};
use super::statements::Statements;

/// So often all that waits is counted where that is not known without.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// What waits in the outbox, as far as its relay knows.
#[derive(Debug)]
pub(super) struct Backlog {
    figures: Arc<Figures>,
    warn_after: Duration,
    seen: Waiting,
    counted: Option<Instant>,
    has_warned: bool,
}

impl Backlog {
    pub(super) fn new(figures: Arc<Figures>, warn_after: Duration) -> Self {
        Self { figures, warn_after, seen: Waiting::default(), counted: None, has_warned: false }
    }

    /// Is it time to count?
    pub(super) fn is_due(&self) -> bool {
        self.counted.is_none_or(|counted| counted.elapsed() >= COUNT_EVERY)
    }

    /// Counts all that waits.
    pub(super) async fn count(&mut self, database: &Database) -> Result<(), Error> {
        let sql = Statements::of(database.backend()).look;
        let row = database.query_one("outbox_count", sql, ()).await?;
        let (now, oldest): (i64, Option<i64>) = (row.get("now")?, row.get("oldest")?);
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        self.seen = Waiting {
            rows: count(row.get("waiting")?),
            oldest: oldest.and_then(|at| ago(Duration::from_millis(count(now.saturating_sub(at))))),
            aside: count(row.get("aside")?),
        };
        self.counted = Some(Instant::now());
        self.figures.show(Some(self.seen));
        Ok(())
    }

    /// This was read; `is_all` if there is nothing else.
    pub(super) fn read(&mut self, page: &[Entry], is_all: bool) {
        if is_all {
            self.seen.rows = page.len() as u64;
        }
        if is_all || !page.is_empty() {
            self.seen.oldest = page.iter().map(|entry| entry.age).max().and_then(ago);
        }
        self.figures.show(Some(self.seen));
    }

    /// So many are gone.
    pub(super) fn sent(&mut self, count: usize) {
        self.seen.rows = self.seen.rows.saturating_sub(count as u64);
        if self.seen.rows == 0 {
            self.seen.oldest = None;
        }
        self.figures.show(Some(self.seen));
    }

    /// One was set aside.
    pub(super) fn set_aside(&mut self) {
        self.seen.aside += 1;
        self.sent(1);
    }

    /// Says once that something has waited for too long, and once that nothing does any more. `why` is what is known of
    /// the broker.
    pub(super) fn tell(&mut self, why: Option<&str>) {
        let age = self.seen.age();
        if !self.has_warned && age >= self.warn_after {
            self.has_warned = true;
            let rows = self.seen.rows;
            tracing::warn!(
                target: "logcontext::bus",
                rows, oldest = ?age, broker = why,
                "events wait in the outbox for long",
            );
        } else if self.has_warned && self.seen.rows == 0 {
            self.has_warned = false;
            tracing::info!(target: "logcontext::bus", "the outbox has drained");
        }
    }

    /// Another one sends now.
    pub(super) fn forget(&mut self) {
        (self.seen, self.counted, self.has_warned) = (Waiting::default(), None, false);
        self.figures.show(None);
    }
}

fn ago(age: Duration) -> Option<Instant> {
    Instant::now().checked_sub(age)
}

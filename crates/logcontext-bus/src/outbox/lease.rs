//! The lease by which one relay of all sends.

use std::time::Duration;

use logcontext_db::{Database, Error};
use tokio::time::Instant;

use super::statements::{RELEASE, Statements, list};

/// The lease of one relay: that it has it, until when, and that it asks for it.
#[derive(Debug)]
pub(super) struct Lease {
    database: Database,
    statements: &'static Statements,
    holder: String,
    time: Duration,
    /// Until then nobody else has it, for sure.
    until: Option<Instant>,
}

impl Lease {
    pub(super) fn new(database: &Database, holder: String, time: Duration) -> Self {
        let statements = Statements::of(database.backend());
        Self { database: database.clone(), statements, holder, time, until: None }
    }

    /// Tries to get it. Answers whether it has.
    pub(super) async fn acquire(&mut self) -> Result<bool, Error> {
        // First by a look, which is in nobody's way.
        let free = self.database.query_one("outbox_lease", self.statements.is_free, ()).await?;
        if free.get::<i64>(0)? == 0 {
            return Ok(false);
        }
        let asked = Instant::now();
        let (sql, holder, time) = (self.statements.acquire, &self.holder, self.millis());
        let got = self
            .database
            .run_interaction("outbox_lease", |mut txn| async move {
                txn.execute(sql, (holder.as_str(), time)).await
            })
            .await?;
        self.until = (got > 0).then(|| asked + self.time);
        Ok(got > 0)
    }

    /// Forgets these events, which the broker has, and has the lease for its time again, in one transaction. Answers
    /// whether it was still there to be had; what the broker has is forgotten in any case.
    pub(super) async fn renew(&mut self, sent: &[i64]) -> Result<bool, Error> {
        let asked = Instant::now();
        let (renew, delete) = (self.statements.renew, self.statements.delete);
        let (holder, time, sent) = (&self.holder, self.millis(), &list(sent.iter().copied()));
        let renewed = self
            .database
            .run_interaction("outbox_relay", |mut txn| async move {
                if !sent.is_empty() {
                    txn.execute(delete, (sent.as_str(),)).await?;
                }
                txn.execute(renew, (holder.as_str(), time)).await
            })
            .await?;
        self.until = (renewed > 0).then(|| asked + self.time);
        Ok(renewed > 0)
    }

    /// Lets it go: another one has it at once.
    pub(super) async fn release(&mut self) -> Result<(), Error> {
        self.until = None;
        let holder = &self.holder;
        self.database
            .run_interaction("outbox_lease", |mut txn| async move {
                txn.execute(RELEASE, (holder.as_str(),)).await
            })
            .await?;
        Ok(())
    }

    /// It may be another's now.
    pub(super) fn lose(&mut self) {
        self.until = None;
    }

    /// When it is over unless it is renewed. Nothing is sent from a little before that on: clocks do not run alike, and what
    /// is sent takes its time.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.map(|until| until - self.time / 10)
    }

    /// When to renew it: three times before it is over.
    pub(super) fn renewal(&self) -> Instant {
        self.until.map_or_else(Instant::now, |until| until - self.time / 3 * 2)
    }

    fn millis(&self) -> i64 {
        i64::try_from(self.time.as_millis()).unwrap_or(i64::MAX)
    }
}

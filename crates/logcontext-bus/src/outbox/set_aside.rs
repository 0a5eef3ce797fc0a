//! Events that could not be sent.

use std::time::{Duration, SystemTime};

use logcontext_db::{Database, Error, Row};

use super::statements::{DELETE_ONE, DROP_ASIDE, LIST_ASIDE, Statements};
use super::{Outbox, OutboxError};
use crate::message::{EventHead, decode, printable};

/// An event that could not be sent, and was set aside so that others were.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// What to ask for it by.
    pub id: i64,
    /// What it is called.
    pub event: Box<str>,
    /// What must stay in order with it; `None` also if that cannot be read.
    pub key: Option<Box<str>>,
    /// The context that has fired it, if that can be read.
    pub context: Option<Box<str>>,
    /// When it was fired, by the database's clock.
    pub at: SystemTime,
    /// When it was set aside, by the same.
    pub since: SystemTime,
    /// Why, on one line.
    pub reason: String,
    /// The event as JSON, as it is.
    pub body: String,
}

impl Outbox {
    /// Events that could not be sent, the oldest first: the broker has refused them
    /// [`max_refusals`](crate::OutboxConfig::max_refusals) times, they are longer than is sent, or what is stored of them
    /// cannot be read. Events that came later were sent without them.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_aside(&self, limit: usize) -> Result<Vec<SetAside>, OutboxError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.database().query("outbox_set_aside", LIST_ASIDE, (limit,)).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Brings one back: it is sent with the next ones, before any that came later, as if it was new. Answers whether it was
    /// there.
    ///
    /// # Errors
    /// The database's.
    pub async fn bring_back(&self, id: i64) -> Result<bool, OutboxError> {
        let sql = Statements::of(self.database().backend()).bring_back;
        let brought = self
            .database()
            .run_interaction("outbox_bring_back", |mut txn| async move {
                txn.execute(sql, (id,)).await?;
                txn.execute(DROP_ASIDE, (id,)).await
            })
            .await?;
        self.wake();
        Ok(brought > 0)
    }

    /// Forgets one that was set aside. Answers whether it was there.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget(&self, id: i64) -> Result<bool, OutboxError> {
        let database = self.database();
        let forgotten = database
            .run_interaction("outbox_forget", |mut txn| async move { txn.execute(DROP_ASIDE, (id,)).await });
        Ok(forgotten.await? > 0)
    }
}

fn read(row: &Row) -> Result<SetAside, Error> {
    let head: Vec<u8> = row.get("head").unwrap_or_default();
    let head = decode::<EventHead>(&head).ok();
    let body: Vec<u8> = row.get("body").unwrap_or_default();
    Ok(SetAside {
        id: row.get("id")?,
        event: printable(row.get("event")?),
        key: head.as_ref().and_then(|head| head.key.as_deref().map(printable)),
        context: head.and_then(|head| head.origin.context.as_deref().map(printable)),
        // Whatever is in there: that may be why.
        at: time(row.get("at").unwrap_or_default()),
        since: time(row.get("since")?),
        reason: row.get("reason")?,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Sets one aside. Answers whether it was there.
pub(super) async fn set_aside(database: &Database, id: i64, reason: &str) -> Result<bool, Error> {
    let sql = Statements::of(database.backend()).set_aside;
    let moved = database.run_interaction("outbox_set_aside", |mut txn| async move {
        txn.execute(sql, (id, reason)).await?;
        txn.execute(DELETE_ONE, (id,)).await
    });
    Ok(moved.await? > 0)
}

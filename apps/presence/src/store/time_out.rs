//! Presence that times out.

use std::time::Duration;

use logcontext::Supervisor;
use logcontext_db::{Error, Txn};

use super::set::add_history;
use super::{BATCH, Store, row};
use crate::presence::{Presence, State};
use crate::time::Timestamp;
use crate::user::UserId;

/// How long after the last activity a presence changes.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Who is online becomes unavailable.
    pub unavailable: Duration,
    /// Who is not offline becomes offline.
    pub offline: Duration,
}

/// How many presences a [`Store::time_out`] has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimedOut {
    /// Became unavailable.
    pub unavailable: usize,
    /// Became offline.
    pub offline: usize,
}

/// The condition stands there twice: on PostgreSQL the first one is looked at again once a row that somebody else
/// had locked is ours, and who has become active meanwhile is left alone.
const TO_OFFLINE: &str = "
UPDATE presence SET state = 'offline', changed_at = $3, revision = revision + 1
WHERE state IN ('online', 'unavailable') AND last_active <= $1 AND user_name IN (
    SELECT user_name FROM presence WHERE state IN ('online', 'unavailable') AND last_active <= $1 LIMIT $2)
RETURNING user_name, state, status_msg, last_active, revision";
const TO_UNAVAILABLE: &str = "
UPDATE presence SET state = 'unavailable', changed_at = $3, revision = revision + 1
WHERE state = 'online' AND last_active <= $1 AND user_name IN (
    SELECT user_name FROM presence WHERE state = 'online' AND last_active <= $1 LIMIT $2)
RETURNING user_name, state, status_msg, last_active, revision";

impl Store {
    /// Times out the presence of those who have not been active for long, notes it in the history, and tells who
    /// follows them. One transaction, unless there are more than a batch of them: then one for each batch.
    ///
    /// # Errors
    /// The database's. The batches before it are done.
    pub async fn time_out(&self, timeouts: &Timeouts, now: Timestamp) -> Result<TimedOut, Error> {
        let mut done = TimedOut::default();
        loop {
            let changed = self.time_out_batch(timeouts, now).await?;
            let count = |state| changed.iter().filter(|(_, presence)| presence.state == state).count();
            let (unavailable, offline) = (count(State::Unavailable), count(State::Offline));
            done.unavailable += unavailable;
            done.offline += offline;
            let is_last = unavailable.max(offline) < BATCH as usize;
            if is_last || Supervisor::current().is_shutting_down() {
                return Ok(done);
            }
        }
    }

    async fn time_out_batch(&self, timeouts: &Timeouts, now: Timestamp) -> Result<Changed, Error> {
        self.database
            .run_interaction("time_out_presence", |mut txn| async move {
                let mut changed = change(&mut txn, TO_OFFLINE, now.before(timeouts.offline), now).await?;
                changed
                    .extend(change(&mut txn, TO_UNAVAILABLE, now.before(timeouts.unavailable), now).await?);
                let (news, told) = (self.news.clone(), changed.clone());
                if !told.is_empty() {
                    txn.after_commit(move || news.tell(told));
                }
                Ok(changed)
            })
            .await
    }
}

type Changed = Vec<(UserId, Presence)>;

async fn change(
    txn: &mut Txn,
    sql: &'static str,
    active_until: Timestamp,
    now: Timestamp,
) -> Result<Changed, Error> {
    let rows = txn.query(sql, (active_until.as_millis(), BATCH, now.as_millis())).await?;
    let mut changed = Vec::with_capacity(rows.len());
    for row in &rows {
        let (user, presence) = (row::user(row)?, row::presence(row)?);
        add_history(txn, &user, &presence, now).await?;
        changed.push((user, presence));
    }
    Ok(changed)
}

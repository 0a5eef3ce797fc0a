//! What other hubs have told: their users' presence, and which transactions they told it in.

use std::error::Error as StdError;
use std::fmt::Write as _;

use logcontext::Supervisor;
use logcontext_db::{Arguments, AssertSqlSafe, Error, Parameters, Txn};

use super::super::{BATCH, SetError, Store, row};
use crate::federation::{HubName, Received, ToldState};
use crate::presence::{Presence, StatusMessage};
use crate::time::Timestamp;
use crate::user::UserId;

const BEGIN: &str = "
INSERT INTO received_transactions (hub, txn_id, accepted, stale, at) VALUES ($1, $2, 0, 0, $3)
ON CONFLICT (hub, txn_id) DO NOTHING";
const DONE: &str =
    "UPDATE received_transactions SET accepted = $3, stale = $4 WHERE hub = $1 AND txn_id = $2";
const RECEIVED: &str = "SELECT accepted, stale FROM received_transactions WHERE hub = $1 AND txn_id = $2";
const ADD_COUNT: &str = "INSERT INTO remote_count (hub, total) VALUES ($1, 0) ON CONFLICT (hub) DO NOTHING";
const COUNT: &str = "UPDATE remote_count SET total = total + $2 WHERE hub = $1 AND total + $2 <= $3";
const GET: &str = "
SELECT state, status_msg, last_active, revision FROM remote_presence WHERE hub = $1 AND user_name = $2";
const PRUNE: &str = "
DELETE FROM received_transactions WHERE at < $1 AND (hub, txn_id) IN (
    SELECT hub, txn_id FROM received_transactions WHERE at < $1 LIMIT $2)";

impl Store {
    /// Keeps what a hub has told, of each user what is newer than what is known; all of it in one transaction. What was
    /// received under this id before is not looked at again: the answer is the same.
    ///
    /// # Errors
    /// If they are new users and there is no room for them, or the database fails. Nothing is kept then.
    pub async fn receive(
        &self,
        hub: &HubName,
        txn_id: &str,
        states: &[ToldState],
        now: Timestamp,
    ) -> Result<Received, SetError> {
        let newest = &newest(states);
        self.database
            .run_interaction("receive_presence", |mut txn| async move {
                let id = (hub.as_str(), txn_id);
                // On PostgreSQL this waits for whoever is just receiving the same.
                if txn.execute(BEGIN, (id.0, id.1, now.as_millis())).await? == 0 {
                    let known = txn.query_one(RECEIVED, id).await?;
                    let number = |column| known.get::<i64>(column).map(|n| u32::try_from(n).unwrap_or(0));
                    return Ok(Received { accepted: number("accepted")?, stale: number("stale")? });
                }
                let accepted = self.keep(&mut txn, hub, newest).await?;
                let stale = states.len() as i64 - accepted;
                txn.execute(DONE, (id.0, id.1, accepted, stale)).await?;
                Ok(Received { accepted: accepted as u32, stale: stale as u32 })
            })
            .await
    }

    /// How many of them were newer.
    async fn keep(&self, txn: &mut Txn, hub: &HubName, states: &[ToldState]) -> Result<i64, SetError> {
        if states.is_empty() {
            return Ok(0);
        }
        // Of our own text: numbers of parameters.
        let rows = txn.query(AssertSqlSafe(upsert(states.len())), Upsert { hub, states }).await?;
        let mut added = 0;
        for row in &rows {
            added += i64::from(row.get::<i64>("updates")? == 0);
        }
        if added > 0 {
            txn.execute(ADD_COUNT, (hub.as_str(),)).await?;
            if txn.execute(COUNT, (hub.as_str(), added, self.max_users)).await? == 0 {
                return Err(SetError::Full);
            }
        }
        Ok(rows.len() as i64)
    }

    /// The presence of another hub's user, as far as it was told.
    ///
    /// # Errors
    /// The database's.
    pub async fn remote_presence(&self, hub: &HubName, user: &UserId) -> Result<Option<Presence>, Error> {
        let key = (hub.as_str(), user.as_str());
        let row = self.database.query_optional("get_remote_presence", GET, key).await?;
        row.as_ref().map(row::presence).transpose()
    }

    /// Forgets which transactions were received before that time; answers how many that were. A database transaction for
    /// each batch, so that others get their turn in between.
    ///
    /// # Errors
    /// The database's. The batches before it are done.
    pub async fn prune_received(&self, before: Timestamp) -> Result<u64, Error> {
        let mut deleted = 0;
        loop {
            let batch = self
                .database
                .run_interaction("prune_received", |mut txn| async move {
                    txn.execute(PRUNE, (before.as_millis(), BATCH)).await
                })
                .await?;
            deleted += batch;
            if batch < BATCH as u64 || Supervisor::current().is_shutting_down() {
                return Ok(deleted);
            }
        }
    }
}

/// Of each user the newest, by name: who changes rows in one order waits for nobody who waits for them.
fn newest(states: &[ToldState]) -> Vec<ToldState> {
    let mut sorted = states.to_vec();
    sorted.sort_by(|a, b| a.user.cmp(&b.user).then(b.revision.cmp(&a.revision)));
    sorted.dedup_by(|later, first| later.user == first.user);
    sorted
}

/// Answers a row for each state that was newer than what is known.
fn upsert(states: usize) -> String {
    let mut sql =
        "INSERT INTO remote_presence (hub, user_name, state, status_msg, last_active, revision) VALUES "
            .to_owned();
    for n in 0..states {
        let of = |column: usize| n * COLUMNS + column + 2;
        let comma = if n == 0 { "" } else { ", " };
        let (user, state, said, active, revision) = (of(0), of(1), of(2), of(3), of(4));
        let _ = write!(sql, "{comma}($1, ${user}, ${state}, ${said}, ${active}, ${revision})");
    }
    sql + " ON CONFLICT (hub, user_name) DO UPDATE SET state = excluded.state, status_msg = excluded.status_msg,
        last_active = excluded.last_active, revision = excluded.revision, updates = remote_presence.updates + 1
        WHERE remote_presence.revision < excluded.revision RETURNING updates"
}

/// Of each state, beside the hub.
const COLUMNS: usize = 5;

struct Upsert<'a> {
    hub: &'a HubName,
    states: &'a [ToldState],
}

impl Parameters for Upsert<'_> {
    fn bind(self, arguments: &mut Arguments) -> Result<(), Box<dyn StdError + Send + Sync>> {
        arguments.add(self.hub.as_str())?;
        for state in self.states {
            arguments.add(state.user.as_str())?;
            arguments.add(state.presence.as_str())?;
            arguments.add(state.status_msg.as_ref().map(StatusMessage::as_str))?;
            arguments.add(state.last_active.as_millis())?;
            arguments.add(state.revision)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::State;

    #[test]
    fn of_a_user_who_is_told_twice_the_newest_counts() {
        let state = |user: &str, revision| ToldState {
            user: user.parse().unwrap(),
            presence: State::Online,
            status_msg: None,
            last_active: Timestamp::from_millis(0),
            revision,
        };
        let kept = newest(&[state("bob", 1), state("alice", 2), state("alice", 3), state("alice", 1)]);
        assert_eq!(kept, [state("alice", 3), state("bob", 1)]);
    }
}

//! Forgetting: old history, and users of whom there is nothing more to tell.

use logcontext::Supervisor;
use logcontext_db::Error;

use super::{BATCH, Store, row};
use crate::time::Timestamp;

const PRUNE: &str =
    "DELETE FROM history WHERE at < $1 AND id IN (SELECT id FROM history WHERE at < $1 LIMIT $2)";

/// In this order, in which those who set a presence go as well: nobody waits for each other. Conditions stand
/// there twice for the same reason as those of the time-outs.
const FORGET_PRESENCE: &str = "
DELETE FROM presence WHERE state = 'offline' AND last_active < $1 AND user_name IN (
    SELECT user_name FROM presence p WHERE state = 'offline' AND last_active < $1
        AND NOT EXISTS (SELECT 1 FROM history h WHERE h.user_name = p.user_name) LIMIT $2)
RETURNING user_name, revision";
const FORGET_USER: &str = "DELETE FROM users WHERE name = $1";
const COUNT_FORGOTTEN: &str = "UPDATE user_count SET total = total - $1";
const KEEP_REVISION: &str = "UPDATE user_count SET last_revision = $1 WHERE last_revision < $1";

impl Store {
    /// Deletes the history before that time; answers how many entries that were. A transaction for each batch, so
    /// that others get their turn in between.
    ///
    /// # Errors
    /// The database's. The batches before it are done.
    pub async fn prune_history(&self, before: Timestamp) -> Result<u64, Error> {
        let mut deleted = 0;
        loop {
            let batch = self
                .database
                .run_interaction("prune_history", |mut txn| async move {
                    txn.execute(PRUNE, (before.as_millis(), BATCH)).await
                })
                .await?;
            deleted += batch;
            if batch < BATCH as u64 || Supervisor::current().is_shutting_down() {
                return Ok(deleted);
            }
        }
    }

    /// Forgets who is offline, was last active before that time, and has no history left; answers how many users
    /// that were. Who follows them hears no more.
    ///
    /// # Errors
    /// The database's. The batches before it are done.
    pub async fn forget_users(&self, before: Timestamp) -> Result<u64, Error> {
        let mut forgotten = 0;
        loop {
            let batch = self.forget_batch(before).await?;
            forgotten += batch as u64;
            if batch < BATCH as usize || Supervisor::current().is_shutting_down() {
                return Ok(forgotten);
            }
        }
    }

    async fn forget_batch(&self, before: Timestamp) -> Result<usize, Error> {
        self.database
            .run_interaction("forget_users", |mut txn| async move {
                let rows = txn.query(FORGET_PRESENCE, (before.as_millis(), BATCH)).await?;
                let users = rows.iter().map(row::user).collect::<Result<Vec<_>, _>>()?;
                if !users.is_empty() {
                    let names: Vec<_> = users.iter().map(|user| (user.as_str().to_owned(),)).collect();
                    txn.execute_batch(FORGET_USER, names).await?;
                    txn.execute(COUNT_FORGOTTEN, (users.len() as i64,)).await?;
                    let mut last = 0_i64;
                    for row in &rows {
                        last = last.max(row.get("revision")?);
                    }
                    txn.execute(KEEP_REVISION, (last,)).await?;
                }
                let count = users.len();
                let news = self.news.clone();
                txn.after_commit(move || users.iter().for_each(|user| news.forget(user)));
                Ok(count)
            })
            .await
    }
}

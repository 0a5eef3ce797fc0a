//! Reading the history.

use logcontext::{EVT_DB_FETCH_COUNT, current_context};
use logcontext_db::Error;

use super::{Store, row};
use crate::presence::Entry;
use crate::user::UserId;

const GET: &str = "
SELECT id, state, status_msg, at FROM history WHERE user_name = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
const IS_KNOWN: &str = "SELECT 1 FROM users WHERE name = $1";

impl Store {
    /// What somebody's presence was, the newest first: at most `limit` entries, all of them before that one. `None`
    /// if nobody knows the user. The rows count as events fetched.
    ///
    /// # Errors
    /// The database's.
    pub async fn history(
        &self,
        user: &UserId,
        limit: u8,
        before: Option<i64>,
    ) -> Result<Option<Vec<Entry>>, Error> {
        let wanted = (user.as_str(), before.unwrap_or(i64::MAX), i64::from(limit));
        let rows = self.database.query("get_history", GET, wanted).await?;
        current_context().add(&EVT_DB_FETCH_COUNT, rows.len() as u64);
        if rows.is_empty() {
            // Either nobody, or somebody who has not changed for long.
            let known = self.database.query_optional("get_user", IS_KNOWN, (user.as_str(),)).await?;
            return Ok(known.map(|_| Vec::new()));
        }
        rows.iter().map(row::entry).collect::<Result<_, _>>().map(Some)
    }
}

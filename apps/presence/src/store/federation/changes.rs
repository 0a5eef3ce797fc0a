//! What has changed since, of those whom a hub follows.

use std::error::Error as StdError;

use logcontext_db::{Arguments, AssertSqlSafe, Error, Parameters};

use super::super::{Store, row};
use super::Position;
use crate::federation::HubName;
use crate::presence::Presence;
use crate::time::Timestamp;
use crate::user::UserId;

/// The presence of a user, and when it became that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub user: UserId,
    /// What it is now.
    pub presence: Presence,
    /// When it was last changed, by the clock of who changed it; never before the user was last active.
    pub changed_at: Timestamp,
}

/// What to read of all that has changed.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Of those whom this hub follows.
    pub hub: &'a HubName,
    /// Of everybody, whomever it follows.
    pub of_all: bool,
    /// What comes after that.
    pub after: &'a Position,
    /// So many of them.
    pub limit: usize,
}

const OF_ALL: &str = "
SELECT user_name, state, status_msg, last_active, revision, changed_at FROM presence
WHERE (changed_at, user_name) > ($1, $2) ORDER BY changed_at, user_name LIMIT $3";
const OF_FOLLOWED: &str = "
SELECT p.user_name, p.state, p.status_msg, p.last_active, p.revision, p.changed_at FROM presence p
JOIN follows f ON f.user_name = p.user_name AND f.hub = $4
WHERE (p.changed_at, p.user_name) > ($1, $2) ORDER BY p.changed_at, p.user_name LIMIT $3";
const OF_ONE: &str = "
SELECT user_name, state, status_msg, last_active, revision, changed_at FROM presence WHERE user_name = $1";

/// How many users are asked for at once.
const CHUNK: usize = 100;

impl Store {
    /// The presence of those who have changed, those that did so first before the others.
    ///
    /// # Errors
    /// The database's.
    pub async fn changes(&self, page: &Page<'_>) -> Result<Vec<Change>, Error> {
        let (at, user) = (page.after.at.as_millis(), page.after.user_name());
        let limit = page.limit as i64;
        let rows = if page.of_all {
            self.database.query("get_changes", OF_ALL, (at, user, limit)).await?
        } else {
            let hub = page.hub.as_str();
            self.database.query("get_changes", OF_FOLLOWED, (at, user, limit, hub)).await?
        };
        rows.iter().map(change).collect()
    }

    /// What somebody's presence is in the database, and since when.
    ///
    /// # Errors
    /// The database's.
    pub async fn change(&self, user: &UserId) -> Result<Option<Change>, Error> {
        let row = self.database.query_optional("get_change", OF_ONE, (user.as_str(),)).await?;
        row.as_ref().map(change).transpose()
    }

    /// When the first of these has last changed; `None` if nobody knows any of them.
    ///
    /// # Errors
    /// The database's.
    pub async fn first_changed(&self, users: &[UserId]) -> Result<Option<Timestamp>, Error> {
        let mut first = None;
        for chunk in users.chunks(CHUNK) {
            let numbers: Vec<_> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
            let numbers = numbers.join(", ");
            // Of our own text: numbers of parameters.
            let sql = format!("SELECT MIN(changed_at) AS first FROM presence WHERE user_name IN ({numbers})");
            let row = self.database.query_one("get_first_change", AssertSqlSafe(sql), Users(chunk)).await?;
            let of_chunk: Option<i64> = row.get("first")?;
            first = first.into_iter().chain(of_chunk).min();
        }
        Ok(first.map(Timestamp::from_millis))
    }
}

fn change(row: &logcontext_db::Row) -> Result<Change, Error> {
    Ok(Change {
        user: row::user(row)?,
        presence: row::presence(row)?,
        changed_at: Timestamp::from_millis(row.get("changed_at")?),
    })
}

struct Users<'a>(&'a [UserId]);

impl Parameters for Users<'_> {
    fn bind(self, arguments: &mut Arguments) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.0.iter().try_for_each(|user| arguments.add(user.as_str()))
    }
}

//! Which hub follows whom.

use std::fmt;

use logcontext_db::Error;

use super::super::{Full, Store, row};
use crate::federation::HubName;
use crate::user::UserId;

/// Why a hub does not follow.
#[derive(Debug)]
pub enum FollowError {
    /// It follows as many as there may be users.
    Full,
    /// The database did not do it.
    Database(Error),
}

const ADD: &str =
    "INSERT INTO follows (hub, user_name) VALUES ($1, $2) ON CONFLICT (hub, user_name) DO NOTHING";
const REMOVE: &str = "DELETE FROM follows WHERE hub = $1 AND user_name = $2";
const ADD_COUNT: &str = "INSERT INTO follow_count (hub, total) VALUES ($1, 0) ON CONFLICT (hub) DO NOTHING";
const COUNT_ONE: &str = "UPDATE follow_count SET total = total + 1 WHERE hub = $1 AND total < $2";
const COUNT_LESS: &str = "UPDATE follow_count SET total = total - 1 WHERE hub = $1";
const FOLLOWS: &str = "SELECT 1 FROM follows WHERE hub = $1 AND user_name = $2";
const PAGE: &str =
    "SELECT user_name FROM follows WHERE hub = $1 AND user_name > $2 ORDER BY user_name LIMIT $3";

/// How many follows are read at once.
const FOLLOWS_PAGE: i64 = 1_000;

impl Store {
    /// A hub follows a user from now on, whether anything is known of them or not. Answers whether it did not before.
    ///
    /// # Errors
    /// If it follows too many, or the database fails.
    pub async fn add_follow(&self, hub: &HubName, user: &UserId) -> Result<bool, FollowError> {
        self.database
            .run_interaction("add_follow", |mut txn| async move {
                let is_new = txn.execute(ADD, (hub.as_str(), user.as_str())).await? > 0;
                if is_new {
                    txn.execute(ADD_COUNT, (hub.as_str(),)).await?;
                    if txn.execute(COUNT_ONE, (hub.as_str(), self.max_users)).await? == 0 {
                        return Err(FollowError::Full);
                    }
                }
                Ok(is_new)
            })
            .await
    }

    /// A hub does not follow a user any more. Answers whether it did.
    ///
    /// # Errors
    /// The database's.
    pub async fn remove_follow(&self, hub: &HubName, user: &UserId) -> Result<bool, Error> {
        self.database
            .run_interaction("remove_follow", |mut txn| async move {
                let was_there = txn.execute(REMOVE, (hub.as_str(), user.as_str())).await? > 0;
                if was_there {
                    txn.execute(COUNT_LESS, (hub.as_str(),)).await?;
                }
                Ok(was_there)
            })
            .await
    }

    /// Whether a hub follows a user.
    ///
    /// # Errors
    /// The database's.
    pub async fn is_followed_by(&self, hub: &HubName, user: &UserId) -> Result<bool, Error> {
        let row = self.database.query_optional("get_follow", FOLLOWS, (hub.as_str(), user.as_str())).await?;
        Ok(row.is_some())
    }

    /// All whom a hub follows.
    ///
    /// # Errors
    /// The database's.
    pub async fn followed_by(&self, hub: &HubName) -> Result<Vec<UserId>, Error> {
        let mut all: Vec<UserId> = Vec::new();
        loop {
            let last = all.last().map_or("", UserId::as_str);
            let rows = self.database.query("get_follows", PAGE, (hub.as_str(), last, FOLLOWS_PAGE)).await?;
            let is_last = (rows.len() as i64) < FOLLOWS_PAGE;
            for row in &rows {
                all.push(row::user(row)?);
            }
            if is_last {
                return Ok(all);
            }
        }
    }
}

impl From<Error> for FollowError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => Full.fmt(f),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FollowError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full => None,
            Self::Database(error) => error.source(),
        }
    }
}

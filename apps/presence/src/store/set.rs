//! Setting a presence.

use std::fmt;

use logcontext_db::{Error, Txn};

use super::{Full, Store, row};
use crate::presence::{Presence, State, StatusMessage};
use crate::time::Timestamp;
use crate::user::UserId;

/// Why a presence was not set.
#[derive(Debug)]
pub enum SetError {
    /// The user is new, and there is no room.
    Full,
    /// The database did not do it.
    Database(Error),
}

/// Somebody is active: their row is ours from here on, and it still tells what they were before.
const TOUCH: &str = "
UPDATE presence SET last_active = $2, changed_at = $2, revision = revision + 1
WHERE user_name = $1
RETURNING state, status_msg, last_active, revision";
const CHANGE: &str = "UPDATE presence SET state = $2, status_msg = $3 WHERE user_name = $1";
const ADD_USER: &str = "INSERT INTO users (name, since) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
const COUNT_USER: &str = "UPDATE user_count SET total = total + 1 WHERE total < $1";
/// The same user may have been added by another request just now.
const ADD_PRESENCE: &str = "
INSERT INTO presence (user_name, state, status_msg, last_active, changed_at, revision)
VALUES ($1, $2, $3, $4, $4, (SELECT last_revision + 1 FROM user_count))
ON CONFLICT (user_name) DO UPDATE SET state = excluded.state, status_msg = excluded.status_msg,
    last_active = excluded.last_active, changed_at = excluded.changed_at, revision = presence.revision + 1
RETURNING revision";
const ADD_HISTORY: &str = "INSERT INTO history (user_name, state, status_msg, at) VALUES ($1, $2, $3, $4)";

impl Store {
    /// Sets somebody's presence, and keeps a note of it in the history if they are another state or say something
    /// else than before: all of it in one transaction, after those of the same user that came before. Then tells who
    /// follows them.
    ///
    /// # Errors
    /// If the user is new and there is no room, or the database fails.
    pub async fn set_presence(
        &self,
        user: &UserId,
        state: State,
        status_msg: Option<StatusMessage>,
        now: Timestamp,
    ) -> Result<Presence, SetError> {
        let _turn = self.turns.queue(user.clone()).await;
        let new = &Presence { state, status_msg, last_active: now, revision: 0 };
        self.database
            .run_interaction("set_presence", |mut txn| async move {
                let known = txn.query_optional(TOUCH, (user.as_str(), now.as_millis())).await?;
                let revision = match known {
                    Some(old) => change(&mut txn, user, &row::presence(&old)?, new).await?,
                    None => self.add(&mut txn, user, new).await?,
                };
                let presence = Presence { revision, ..new.clone() };
                let (news, set) = (self.news.clone(), vec![(user.clone(), presence.clone())]);
                txn.after_commit(move || news.tell(set));
                Ok(presence)
            })
            .await
    }

    async fn add(&self, txn: &mut Txn, user: &UserId, new: &Presence) -> Result<i64, SetError> {
        let now = new.last_active.as_millis();
        let is_new = txn.execute(ADD_USER, (user.as_str(), now)).await? > 0;
        if is_new && txn.execute(COUNT_USER, (self.max_users,)).await? == 0 {
            return Err(SetError::Full);
        }
        let said = new.status_msg.as_ref().map(StatusMessage::as_str);
        if is_new {
            let (news, user) = (self.news.clone(), user.clone());
            txn.after_commit(move || news.look_again(&user));
        }
        let row = txn.query_one(ADD_PRESENCE, (user.as_str(), new.state.as_str(), said, now)).await?;
        add_history(txn, user, new, new.last_active).await?;
        Ok(row.get("revision")?)
    }
}

async fn change(txn: &mut Txn, user: &UserId, old: &Presence, new: &Presence) -> Result<i64, Error> {
    if (old.state, &old.status_msg) != (new.state, &new.status_msg) {
        let said = new.status_msg.as_ref().map(StatusMessage::as_str);
        txn.execute(CHANGE, (user.as_str(), new.state.as_str(), said)).await?;
        add_history(txn, user, new, new.last_active).await?;
    }
    Ok(old.revision)
}

/// Notes what somebody's presence is from now on.
pub(super) async fn add_history(
    txn: &mut Txn,
    user: &UserId,
    presence: &Presence,
    now: Timestamp,
) -> Result<(), Error> {
    let said = presence.status_msg.as_ref().map(StatusMessage::as_str);
    txn.execute(ADD_HISTORY, (user.as_str(), presence.state.as_str(), said, now.as_millis())).await?;
    Ok(())
}

impl From<Error> for SetError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => Full.fmt(f),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full => None,
            Self::Database(error) => error.source(),
        }
    }
}

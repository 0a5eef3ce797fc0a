//! Profiles: looked up once however many ask, and kept until they change.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use logcontext_cache::{CachedLookup, LookupError};
use logcontext_db::{Database, Error, sqlx};

use super::{Store, row};
use crate::profile::{DisplayName, Profile};
use crate::user::UserId;

/// That nobody knows a user is remembered as well.
pub(super) type Profiles = CachedLookup<UserId, Option<Profile>, Error>;

/// For what other processes write to the same database.
const EXPIRY: Duration = Duration::from_secs(60);

const GET: &str = "SELECT display_name, since FROM users WHERE name = $1";
const SET: &str = "UPDATE users SET display_name = $2 WHERE name = $1";

/// Who asks first pays for the lookup.
pub(super) fn profiles(database: &Database, capacity: usize) -> Profiles {
    let database = database.clone();
    CachedLookup::builder("profiles").capacity(capacity).expiry(EXPIRY).build(move |user: UserId| {
        let database = database.clone();
        async move {
            let row = database.query_optional("get_profile", GET, (user.as_str(),)).await?;
            row.as_ref().map(row::profile).transpose()
        }
    })
}

impl Store {
    /// Somebody's profile, if they are known.
    ///
    /// # Errors
    /// The database's.
    pub async fn profile(&self, user: &UserId) -> Result<Option<Profile>, Error> {
        match self.news.profiles.get(user.clone()).await {
            Ok(profile) => Ok((*profile).clone()),
            Err(LookupError::Failed(error)) => Err(ours(error)),
            Err(error) => Err(protocol(&error)),
        }
    }

    /// Says what somebody is called, or that nothing is. False if nobody knows them.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_display_name(&self, user: &UserId, name: Option<&DisplayName>) -> Result<bool, Error> {
        let _turn = self.turns.queue(user.clone()).await;
        let name = name.map(DisplayName::as_str);
        self.database
            .run_interaction("set_profile", |mut txn| async move {
                let known = txn.execute(SET, (user.as_str(), name)).await? > 0;
                if known {
                    let (news, user) = (self.news.clone(), user.clone());
                    txn.after_commit(move || news.look_again(&user));
                }
                Ok(known)
            })
            .await
    }
}

/// An error that is shared with others who waited for the lookup, as one of our own: the same limit, or the same text.
fn ours(error: Arc<Error>) -> Error {
    let error = match Arc::try_unwrap(error) {
        Ok(error) => return error,
        Err(shared) => shared,
    };
    match &*error {
        Error::AcquireTimeout { pool, limit } => {
            Error::AcquireTimeout { pool: Arc::clone(pool), limit: *limit }
        }
        Error::QueueFull { pool, limit } => Error::QueueFull { pool: Arc::clone(pool), limit: *limit },
        Error::Closed { database } => Error::Closed { database: Arc::clone(database) },
        Error::StatementTimeout { limit } => Error::StatementTimeout { limit: *limit },
        Error::Connect { database, tries, source } => Error::Connect {
            database: Arc::clone(database),
            tries: *tries,
            source: sqlx::Error::Protocol(source.to_string()),
        },
        Error::ConnectionLost(source) => Error::ConnectionLost(sqlx::Error::Protocol(source.to_string())),
        error => protocol(error),
    }
}

fn protocol(error: &impl fmt::Display) -> Error {
    Error::Database(sqlx::Error::Protocol(error.to_string()))
}

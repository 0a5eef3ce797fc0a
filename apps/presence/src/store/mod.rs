//! [`Store`]: everybody's presence and its history, in the database.

mod federation;
mod followers;
mod forget;
mod hear;
mod history;
mod last_known;
mod news;
mod profiles;
mod publish;
mod received;
mod row;
mod schema;
mod set;
mod time_out;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use logcontext_cache::Linearizer;
use logcontext_db::{Backend, Closed, Database, Error};
use logcontext_service::config::DatabaseUrl;

use crate::presence::Presence;
use crate::user::UserId;
pub use federation::{Change, Destination, FollowError, Page, Position};
pub use followers::Following;
use last_known::LastKnown;
use news::News;
use publish::Publisher;
pub use received::ReceivedTotals;
pub use set::SetError;
pub use time_out::{TimedOut, Timeouts};

/// How many rows a transaction changes at most when it tidies up, so that none keeps others waiting for long.
pub const BATCH: i64 = 500;

/// How often a transaction is tried where others are in its way.
const TRIES: u32 = 5;

/// Everybody's presence. The caller says what time it is.
#[derive(Debug)]
pub struct Store {
    database: Database,
    news: News,
    /// `None` until there is one.
    publisher: OnceLock<Publisher>,
    /// Updates of one user are made one after the other: they would be in each other's way in the database, each of
    /// them with a connection of its own.
    turns: Linearizer<UserId>,
    max_users: i64,
}

/// How to use the database.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many users there can be.
    pub max_users: u32,
    /// How long a request may wait for a connection.
    pub acquire_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long a presence that was set here is answered from memory: what other processes write to the same database
    /// is seen after that.
    pub last_known: Duration,
}

impl Store {
    /// Opens the database, and brings its tables up to date. To be called in a context.
    ///
    /// # Errors
    /// If it cannot be reached, or is not fit for this. Nothing is left open then.
    pub async fn open(url: &DatabaseUrl, limits: &Limits) -> Result<Self, Error> {
        let database = Database::builder(url.with_password())
            .name("presence")
            .acquire_timeout(limits.acquire_timeout)
            .statement_timeout(limits.statement_timeout)
            // Other processes that write to the same file: all tries together take as long as one may wait.
            .busy_timeout(limits.acquire_timeout / TRIES)
            .max_tries(TRIES)
            .migrations(schema::migrations())
            .open()
            .await?;
        let users = usize::try_from(limits.max_users).unwrap_or(usize::MAX);
        let news = News {
            followers: Arc::default(),
            last_known: LastKnown::new(users, limits.last_known),
            profiles: profiles::profiles(&database, users),
        };
        let turns = Linearizer::new("updates");
        Ok(Self { database, news, publisher: OnceLock::new(), turns, max_users: limits.max_users.into() })
    }

    /// Closes all connections, and waits for that until the deadline.
    pub async fn close(&self, deadline: Duration) -> Closed {
        self.database.close(deadline).await
    }

    /// Which kind of database it is.
    pub fn backend(&self) -> Backend {
        self.database.backend()
    }

    /// Somebody's presence, if they are known: from memory, if it was set here not long ago.
    ///
    /// # Errors
    /// The database's.
    pub async fn presence(&self, user: &UserId) -> Result<Option<Presence>, Error> {
        if let Some(known) = self.news.last_known.get(user) {
            return Ok(Some(known));
        }
        self.stored(user).await
    }

    async fn stored(&self, user: &UserId) -> Result<Option<Presence>, Error> {
        let row = self.database.query_optional("get_presence", GET, (user.as_str(),)).await?;
        row.as_ref().map(row::presence).transpose()
    }

    /// Somebody's presence and its changes, if they are known.
    ///
    /// # Errors
    /// The database's.
    pub async fn follow(&self, user: &UserId) -> Result<Option<Following>, Error> {
        // First of all, so that no change is missed meanwhile.
        let mut following = self.news.followers.follow(user);
        let presence = self.stored(user).await?;
        Ok(presence.map(|presence| {
            following.start(&presence);
            following
        }))
    }

    /// How many users are followed by somebody.
    pub fn followed(&self) -> usize {
        self.news.followers.len()
    }

    /// How many users are known.
    ///
    /// # Errors
    /// The database's.
    pub async fn users(&self) -> Result<i64, Error> {
        self.database.query_one("count_users", "SELECT total FROM user_count", ()).await?.get(0)
    }
}

const GET: &str = "SELECT state, status_msg, last_active, revision FROM presence WHERE user_name = $1";

/// There is no room for another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for another user; expected fewer users, or an old one")
    }
}

impl std::error::Error for Full {}

//! [`Error`]: what went wrong, and which limit it was.

use std::sync::Arc;
use std::time::Duration;

use sqlx::error::ErrorKind;

use crate::settings::Settings;
use crate::{Backend, keys};

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection became free in time: the acquire timeout.
    #[error("no connection of pool `{pool}` became free within {limit:?}: the acquire timeout")]
    AcquireTimeout {
        /// The name of the pool.
        pool: Arc<str>,
        /// The limit.
        limit: Duration,
    },
    /// So many wait for a connection already that one more may not: the queue limit.
    #[error("{limit} others wait for a connection of pool `{pool}` already: the queue limit")]
    QueueFull {
        /// The name of the pool.
        pool: Arc<str>,
        /// The limit.
        limit: usize,
    },
    /// The database has been closed.
    #[error("the database `{database}` is closed")]
    Closed {
        /// The name of the database.
        database: Arc<str>,
    },
    /// A statement took too long and was cancelled: the statement timeout.
    #[error("a statement was cancelled after {}: the statement timeout", Limit(*limit))]
    StatementTimeout {
        /// The limit, where it is ours and not the server's.
        limit: Option<Duration>,
    },
    /// No connection could be opened within the acquire timeout.
    #[error("cannot connect to the database `{database}` ({tries} {}): {}", if *tries == 1 { "try" } else { "tries" }, reason(source))]
    Connect {
        /// The name of the database.
        database: Arc<str>,
        /// How often it was tried.
        tries: u32,
        /// What was wrong the last time.
        source: sqlx::Error,
    },
    /// The connection was lost while it was used: nobody can tell from here whether the statement took effect.
    #[error("the connection to the database was lost")]
    ConnectionLost(#[source] sqlx::Error),
    /// A statement of this transaction was dropped before it had ended, or still ran when the closure returned: the
    /// transaction has been rolled back.
    #[error("a statement of the transaction was dropped before it had ended: rolled back")]
    Interrupted,
    /// A statement of this transaction had failed, and the transaction with it, though its error was ignored: the
    /// transaction has been rolled back.
    #[error("a statement of the transaction had failed, and the transaction with it: {cause}")]
    Failed {
        /// The error of that statement.
        cause: String,
    },
    /// The transaction is over: its closure has returned.
    #[error("the transaction is over")]
    Over,
    /// The database, or its driver, answered an error.
    #[error(transparent)]
    Database(sqlx::Error),
    /// The address means nothing.
    #[error("expected the address of a database, {expected}")]
    Address {
        /// What was expected.
        expected: &'static str,
        /// What is wrong with it, if the driver says.
        source: Option<sqlx::Error>,
    },
    /// The address has a parameter that means nothing to the driver.
    #[error("the address of the {backend} database has {}, which is not known; expected no others than {}", Key(key), keys::known(*backend))]
    UnknownParameter {
        /// The kind of database.
        backend: Backend,
        /// The name of the parameter, unless it may be a part of a password.
        key: Option<String>,
    },
    /// A transaction that was started in the closure of another one, on the same pool, would have waited for the
    /// connection that the other one holds: until the acquire timeout, for the other one waits for it. On SQLite that
    /// is any that writes inside of one that writes. What belongs together goes into one transaction, with its
    /// [`Txn`](crate::Txn); what does not, before or after it.
    #[error(
        "`{inner}` inside of the interaction `{outer}` would wait for a connection of pool `{pool}` that only \
         `{outer}` can give back"
    )]
    Nested {
        /// The name of the pool.
        pool: Arc<str>,
        /// The name of the transaction that waits for the other one.
        outer: &'static str,
        /// The name of the other one.
        inner: &'static str,
    },
    /// The database was in memory, and its only connection was lost, and all data with it.
    #[error("the database `{database}` was in memory, and was lost with its only connection")]
    MemoryLost {
        /// The name of the database.
        database: Arc<str>,
    },
    /// A migration failed; nothing of it was kept.
    #[error("the migrations of the database `{database}` failed: {what}")]
    Migration {
        /// The name of the database.
        database: Arc<str>,
        /// Which one, and how.
        what: String,
        /// What was wrong.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The transaction's only connection is another kind of database.
    #[error("the database is {found}, and not the one that was asked for")]
    OtherBackend {
        /// What it is.
        found: Backend,
    },
}

/// Why there is no connection, in as few words as the driver has for it.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    }
}

struct Key<'a>(&'a Option<String>);

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(key) => write!(f, "the parameter `{key}`"),
            None => f.write_str(
                "a parameter (not named here, as it may be a part of the password, where `?` is written `%3F`)",
            ),
        }
    }
}

struct Limit(Option<Duration>);

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{limit:?}"),
            None => f.write_str("the server's limit"),
        }
    }
}

impl Error {
    /// The error of the driver that this one is about, if any.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// use logcontext_db::Database;
    ///
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// let db = Database::open("sqlite::memory:").await?;
    /// let error = db.execute("typo", "SELEC 1", ()).await.unwrap_err();
    /// assert!(error.driver().unwrap().to_string().contains("syntax error"));
    /// # Ok(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    pub fn driver(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) | Self::ConnectionLost(error) => Some(error),
            Self::Connect { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Does it say that a value must be unique and is not? What services most often look for.
    pub fn is_unique_violation(&self) -> bool {
        self.kind() == Some(ErrorKind::UniqueViolation)
    }

    /// Does it say that a row is referred to, or refers to one, that is not there?
    pub fn is_foreign_key_violation(&self) -> bool {
        self.kind() == Some(ErrorKind::ForeignKeyViolation)
    }

    /// Does it say that what was to be stored breaks a rule of the schema: unique, foreign key, not null, check,
    /// exclusion? Another try would break it again: for a client that is a conflict or a bad request.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// # let db = logcontext_db::Database::open("sqlite::memory:").await?;
    /// db.execute("create", "CREATE TABLE users (name TEXT UNIQUE, age INTEGER CHECK (age > 0))", ()).await?;
    /// let error = db.execute("add", "INSERT INTO users VALUES ($1, $2)", ("alice", 0)).await.unwrap_err();
    /// assert!(error.is_constraint_violation() && !error.is_unique_violation());
    /// assert!(!error.is_unavailable());
    /// # Ok::<(), logcontext_db::Error>(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    pub fn is_constraint_violation(&self) -> bool {
        // Of PostgreSQL's codes the whole class: integrity constraint violation.
        self.code_is(|code| code == SQLITE_CONSTRAINT, |code| code.starts_with("23"))
    }

    /// Was another transaction in the way, at each try: a serialization failure, a deadlock, SQLite busy? It may go
    /// through the next time.
    #[doc(alias = "serialization failure")]
    #[doc(alias = "deadlock")]
    #[doc(alias = "busy")]
    pub fn is_conflict(&self) -> bool {
        let Some(error) = self.driver() else { return false };
        let backend = error.as_database_error().and_then(backend_of);
        backend.is_some_and(|backend| Class::of(error, backend) == Class::Conflict)
    }

    /// Has a limit of time ended it: the acquire timeout, or the statement timeout?
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::AcquireTimeout { .. } | Self::StatementTimeout { .. })
    }

    /// Is it the database that was not there or had no time or room, and nothing wrong with what it was asked? What an
    /// HTTP service answers 503 for: no connection in time, too many who wait, closed, cannot connect, connection lost,
    /// [others in the way](Self::is_conflict), a lock that somebody else has, no memory, no disk. Not a statement that
    /// takes too long: that may be its own fault, see [`is_timeout`](Self::is_timeout).
    ///
    /// ```
    /// use logcontext_db::Error;
    ///
    /// fn status(error: &Error) -> u16 {
    ///     match error {
    ///         error if error.is_unique_violation() => 409,
    ///         error if error.is_constraint_violation() => 400,
    ///         error if error.is_unavailable() => 503,
    ///         error if error.is_timeout() => 504,
    ///         _ => 500,
    ///     }
    /// }
    /// assert_eq!(status(&Error::QueueFull { pool: "all".into(), limit: 10 }), 503);
    /// assert_eq!(status(&Error::StatementTimeout { limit: None }), 504);
    /// assert_eq!(status(&Error::Over), 500);
    /// ```
    pub fn is_unavailable(&self) -> bool {
        let is_gone = matches!(
            self,
            Self::AcquireTimeout { .. }
                | Self::QueueFull { .. }
                | Self::Closed { .. }
                | Self::Connect { .. }
                | Self::ConnectionLost(_)
        );
        is_gone || self.is_conflict() || self.is_exhausted()
    }

    fn is_exhausted(&self) -> bool {
        self.code_is(
            |code| code == SQLITE_NOMEM || code == SQLITE_FULL,
            |code| {
                // Insufficient resources; a lock that is not waited for, or not any longer.
                code.starts_with("53") || code == "55P03"
            },
        )
    }

    /// What the database says, by its own code.
    fn code_is(&self, sqlite: impl FnOnce(i32) -> bool, postgres: impl FnOnce(&str) -> bool) -> bool {
        let Some(error) = self.driver().and_then(sqlx::Error::as_database_error) else { return false };
        let code = error.code().unwrap_or_default();
        match backend_of(error) {
            Some(Backend::Sqlite) => sqlite(sqlite_code(&code)),
            Some(Backend::Postgres) => postgres(&code),
            None => false,
        }
    }

    fn kind(&self) -> Option<ErrorKind> {
        Some(self.driver()?.as_database_error()?.kind())
    }
}

/// Whose error it is.
fn backend_of(error: &(dyn sqlx::error::DatabaseError + 'static)) -> Option<Backend> {
    #[cfg(feature = "sqlite")]
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return Some(Backend::Sqlite);
    }
    #[cfg(feature = "postgres")]
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return Some(Backend::Postgres);
    }
    let _ = error;
    None
}

const SQLITE_NOMEM: i32 = 7;
const SQLITE_FULL: i32 = 13;
/// For all that breaks a rule of the schema.
const SQLITE_CONSTRAINT: i32 = 19;

/// What kind it is: extended codes say more in their upper bits.
fn sqlite_code(code: &str) -> i32 {
    code.parse::<i32>().unwrap_or_default() & 0xff
}

/// What an error of the driver means for the connection, and for who would try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Another transaction was in the way: serialization failure, deadlock, SQLite busy.
    Conflict,
    /// The statement was cancelled: by a limit, or by us.
    Cancelled,
    /// The connection is of no more use.
    Lost,
    /// Anything else.
    Other,
}

impl Class {
    pub(crate) fn of(error: &sqlx::Error, backend: Backend) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => Self::Lost,
            // SQLite has no protocol: there it is a statement that the driver cannot make sense of.
            sqlx::Error::Protocol(_) if backend == Backend::Postgres => Self::Lost,
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                match backend {
                    Backend::Sqlite => Self::of_sqlite(&code),
                    Backend::Postgres => Self::of_postgres(&code),
                }
            }
            _ => Self::Other,
        }
    }

    fn of_sqlite(code: &str) -> Self {
        match sqlite_code(code) {
            5 | 6 => Self::Conflict,
            9 => Self::Cancelled,
            _ => Self::Other,
        }
    }

    fn of_postgres(code: &str) -> Self {
        match code {
            "40001" | "40P01" => Self::Conflict,
            "57014" => Self::Cancelled,
            "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" => Self::Lost,
            // A statement that was given too few values, for one. If it were more, the connection would end.
            "08P01" => Self::Other,
            code if code.starts_with("08") => Self::Lost,
            _ => Self::Other,
        }
    }
}

/// The driver's error as ours.
pub(crate) fn ours(error: sqlx::Error, backend: Backend, settings: &Settings) -> Error {
    match Class::of(&error, backend) {
        Class::Lost => Error::ConnectionLost(error),
        Class::Cancelled if is_statement_timeout(&error, settings) => {
            Error::StatementTimeout { limit: settings.statement_timeout }
        }
        Class::Cancelled | Class::Conflict | Class::Other => Error::Database(error),
    }
}

/// Was it the statement timeout that cancelled a statement? It may have been somebody else. PostgreSQL says which, in
/// words, and perhaps not in English: then it was our limit, if there is one.
pub(crate) fn is_statement_timeout(error: &sqlx::Error, settings: &Settings) -> bool {
    let message = error.as_database_error().map_or("", |error| error.message());
    message.contains("statement timeout")
        || (settings.statement_timeout.is_some() && !message.contains("user request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_who_may_try_again_and_what_is_lost() {
        for (code, class) in [("5", Class::Conflict), ("517", Class::Conflict), ("6", Class::Conflict)] {
            assert_eq!(Class::of_sqlite(code), class, "{code}");
        }
        assert_eq!(Class::of_sqlite("9"), Class::Cancelled);
        assert_eq!(Class::of_sqlite("2067"), Class::Other);
        assert_eq!(Class::of_sqlite("nonsense"), Class::Other);
        assert_eq!(Class::of_postgres("40001"), Class::Conflict);
        assert_eq!(Class::of_postgres("40P01"), Class::Conflict);
        assert_eq!(Class::of_postgres("57014"), Class::Cancelled);
        assert_eq!(Class::of_postgres("57P01"), Class::Lost);
        assert_eq!(Class::of_postgres("08006"), Class::Lost);
        assert_eq!(Class::of_postgres("08P01"), Class::Other);
        assert_eq!(Class::of_postgres("23505"), Class::Other);
    }

    #[test]
    fn an_error_says_which_limit_it_was() {
        let pool = || Arc::from("writer");
        let limit = Duration::from_secs(30);
        for (error, expected) in [
            (
                Error::AcquireTimeout { pool: pool(), limit },
                "no connection of pool `writer` became free within 30s: the acquire timeout",
            ),
            (
                Error::QueueFull { pool: pool(), limit: 1_000 },
                "1000 others wait for a connection of pool `writer` already: the queue limit",
            ),
            (
                Error::StatementTimeout { limit: Some(limit) },
                "a statement was cancelled after 30s: the statement timeout",
            ),
            (
                Error::StatementTimeout { limit: None },
                "a statement was cancelled after the server's limit: the statement timeout",
            ),
            (Error::Closed { database: Arc::from("main") }, "the database `main` is closed"),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn an_address_that_means_nothing_keeps_its_password_to_itself() {
        use crate::backend::Address;

        for address in [
            "postgres://alice:hunter2@host:99999/db",
            "postgres://alice:hunter2@ho st/db",
            "postgres://alice:hunter2@host/db?sslmode=hunter",
            "mysql://alice:hunter2@host/db",
            "alice:hunter2",
        ] {
            let Err(error) = address.parse::<Address>() else { continue };
            let mut told = format!("{error} {error:?}");
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                told.push_str(&inner.to_string());
                source = inner.source();
            }
            assert!(!told.contains("hunter2"), "{told}");
            assert!(told.contains("expected the address of a database"), "{told}");
        }
    }
}

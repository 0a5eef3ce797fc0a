//! Which kind of database it is, and where.

use std::fmt;
use std::str::FromStr;

use crate::{Error, keys};

/// The kind of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Backend {
    /// `sqlite` or `postgres`: as labels and addresses have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Where the database is, as its driver wants to know it.
#[derive(Clone)]
pub(crate) enum Address {
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
    #[cfg(feature = "postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    None(std::convert::Infallible),
}

const EXPECTED: &str = if cfg!(all(feature = "sqlite", feature = "postgres")) {
    "`sqlite:<file>`, `sqlite::memory:` or `postgres://user@host/database`"
} else if cfg!(feature = "sqlite") {
    "`sqlite:<file>` or `sqlite::memory:` (PostgreSQL is not built in: feature `postgres`)"
} else if cfg!(feature = "postgres") {
    "`postgres://user@host/database` (SQLite is not built in: feature `sqlite`)"
} else {
    "but no database is built in: features `sqlite` and `postgres`"
};

impl FromStr for Address {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            keys::check(url, Backend::Sqlite)?;
            let options = url.parse().map_err(|error| meaningless(url, error))?;
            return Ok(Self::Sqlite(Box::new(options)));
        }
        #[cfg(feature = "postgres")]
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            keys::check(url, Backend::Postgres)?;
            let options = url.parse().map_err(|error| meaningless(url, error))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        let _ = url;
        Err(Error::Address { expected: EXPECTED, source: None })
    }
}

/// The driver repeats a value that it does not understand: not where that may be the rest of a password.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn meaningless(url: &str, error: sqlx::Error) -> Error {
    Error::Address { expected: EXPECTED, source: (!keys::may_hold_password(url)).then_some(error) }
}

impl Address {
    pub(crate) fn backend(&self) -> Backend {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Backend::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Backend::Postgres,
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Self::None(never) => match *never {},
        }
    }

    /// Is it a database that one connection sees, and no other?
    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(options) => {
                let file = options.get_filename().to_string_lossy();
                file.is_empty() || file == ":memory:" || file.starts_with("file:sqlx-in-memory-")
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Self::None(never) => match *never {},
        }
    }
}

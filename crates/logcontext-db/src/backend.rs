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
    Sqlite { options: Box<sqlx::sqlite::SqliteConnectOptions>, in_memory: bool },
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
            return Ok(Self::Sqlite { in_memory: is_in_memory(url, &options), options: Box::new(options) });
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

/// As sqlx has it, or as SQLite has it in the name of a file that is itself an address. Without a name it is
/// temporary, which is the same.
#[cfg(feature = "sqlite")]
fn is_in_memory(url: &str, options: &sqlx::sqlite::SqliteConnectOptions) -> bool {
    let file = options.get_filename().to_string_lossy();
    let by_name = file.is_empty() || file == ":memory:" || file.starts_with("file:sqlx-in-memory-");
    let by_address = file.strip_prefix("file:").is_some_and(|address| {
        address.is_empty()
            || address.starts_with('?')
            || [":memory:", "mode=memory", "vfs=memdb"].iter().any(|part| address.contains(part))
    });
    let by_parameter = keys::parameters(url, Backend::Sqlite)
        .any(|(key, value)| matches!((&*key, &*value), ("mode", "memory") | ("vfs", "memdb")));
    by_name || by_address || by_parameter
}

impl Address {
    pub(crate) fn backend(&self) -> Backend {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => Backend::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Backend::Postgres,
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Self::None(never) => match *never {},
        }
    }

    /// Is it a database that is gone with its last connection, and that other connections may not even see?
    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { in_memory, .. } => *in_memory,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Self::None(never) => match *never {},
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_known_by_its_address() {
        for (url, expected) in [
            ("sqlite::memory:", true),
            ("sqlite://:memory:", true),
            ("sqlite::memory:?cache=private", true),
            ("sqlite:", true),
            ("sqlite:presence.db?mode=memory", true),
            ("sqlite:presence.db?cache=shared&mode=%6demory", true),
            ("sqlite:presence.db?mode=rwc&vfs=memdb", true),
            ("sqlite:file::memory:", true),
            ("sqlite:file:presence.db%3Fmode=memory", true),
            ("sqlite:presence.db", false),
            ("sqlite:memory?mode=rwc", false),
            ("sqlite:file:presence.db", false),
            ("sqlite:presence.db?mode=rwc&vfs=unix", false),
        ] {
            let address: Address = url.parse().unwrap();
            assert_eq!(address.is_in_memory(), expected, "{url}");
        }
    }
}

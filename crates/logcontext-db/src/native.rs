//! [`Native`]: a transaction's connection, for what there is no method for.

use std::fmt;

use crate::Error;
use crate::interaction::Lease;

/// A transaction's connection, as the driver has it.
pub struct Native<'a> {
    lease: Lease<'a>,
}

impl<'a> Native<'a> {
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn new(lease: Lease<'a>) -> Self {
        Self { lease }
    }

    /// The connection, if the database is SQLite.
    #[cfg(feature = "sqlite")]
    pub fn sqlite_connection(&mut self) -> Option<&mut sqlx::SqliteConnection> {
        self.lease.connection().sqlite()
    }

    /// The connection, if the database is PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn postgres_connection(&mut self) -> Option<&mut sqlx::PgConnection> {
        self.lease.connection().postgres()
    }

    /// What it was used for has ended, like this. Makes the driver's error ours.
    ///
    /// # Errors
    /// The one that it was given.
    pub fn done<T>(self, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        self.lease.done(result)
    }
}

impl fmt::Debug for Native<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").finish_non_exhaustive()
    }
}

//! [`Txn`]: what the closure of an interaction works with.

use std::fmt;
use std::sync::Arc;

use logcontext::current_context;
use sqlx::SqlSafeStr;

use crate::interaction::{Lease, Seat};
use crate::value::Arguments;
use crate::{Backend, DB_ROWS_FETCHED, Error, Parameters, Row};

/// A transaction that is open: given to the closure of [`Database::run_interaction`](crate::Database::run_interaction).
///
/// Statements have their parameters as `$1`, `$2`, .. on both databases. What they are written in is a literal, or
/// [`AssertSqlSafe`](crate::AssertSqlSafe) says that somebody has looked.
///
/// A statement that is dropped before it has ended, by a timeout for one, takes the transaction with it: all further
/// statements fail with [`Error::Interrupted`], and it is rolled back.
pub struct Txn {
    seat: Arc<Seat>,
    name: &'static str,
}

impl Txn {
    pub(crate) fn new(seat: Arc<Seat>, name: &'static str) -> Self {
        Self { seat, name }
    }

    /// The name of the transaction.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Which kind of database it is, for statements that differ.
    ///
    /// # Errors
    /// [`Error::Over`] after the closure has returned.
    pub fn backend(&self) -> Result<Backend, Error> {
        self.seat.lease()?.backend().ok_or(Error::Over)
    }

    /// All rows that a query answers.
    ///
    /// # Errors
    /// The database's, as [`Error`] tells them apart.
    pub async fn query(
        &mut self,
        sql: impl SqlSafeStr,
        parameters: impl Parameters,
    ) -> Result<Vec<Row>, Error> {
        let (mut lease, arguments) = self.begin(parameters)?;
        let result = lease.held().connection().fetch_all(sql.into_sql_str(), arguments).await;
        let rows = lease.done(result)?;
        current_context().add(&DB_ROWS_FETCHED, rows.len() as u64);
        Ok(rows)
    }

    /// The first row that a query answers, if there is one.
    ///
    /// # Errors
    /// The database's, as [`Error`] tells them apart.
    pub async fn query_optional(
        &mut self,
        sql: impl SqlSafeStr,
        parameters: impl Parameters,
    ) -> Result<Option<Row>, Error> {
        let (mut lease, arguments) = self.begin(parameters)?;
        let result = lease.held().connection().fetch_optional(sql.into_sql_str(), arguments).await;
        let row = lease.done(result)?;
        if row.is_some() {
            current_context().add(&DB_ROWS_FETCHED, 1);
        }
        Ok(row)
    }

    /// The first row that a query answers.
    ///
    /// # Errors
    /// [`sqlx::Error::RowNotFound`] in an [`Error::Database`] if there is none, and the database's.
    pub async fn query_one(&mut self, sql: impl SqlSafeStr, parameters: impl Parameters) -> Result<Row, Error> {
        let row = self.query_optional(sql, parameters).await?;
        row.ok_or(Error::Database(sqlx::Error::RowNotFound))
    }

    /// Runs a statement; answers how many rows it changed.
    ///
    /// # Errors
    /// The database's, as [`Error`] tells them apart.
    pub async fn execute(&mut self, sql: impl SqlSafeStr, parameters: impl Parameters) -> Result<u64, Error> {
        let (mut lease, arguments) = self.begin(parameters)?;
        let result = lease.held().connection().execute(sql.into_sql_str(), arguments).await;
        lease.done(result)
    }

    /// Runs a statement once for each of the parameters; answers how many rows were changed in all.
    ///
    /// # Errors
    /// The first of the database's; those before it have taken effect, if the transaction does.
    pub async fn execute_batch<P: Parameters>(
        &mut self,
        sql: impl SqlSafeStr,
        batch: impl IntoIterator<Item = P>,
    ) -> Result<u64, Error> {
        let sql = sql.into_sql_str();
        let mut changed = 0;
        for parameters in batch {
            changed += self.execute(sql.clone(), parameters).await?;
        }
        Ok(changed)
    }

    /// Runs any number of statements without parameters, separated by semicolons.
    ///
    /// # Errors
    /// The first of the database's.
    pub async fn execute_script(&mut self, sql: impl SqlSafeStr) -> Result<(), Error> {
        let mut lease = self.seat.lease()?;
        let result = lease.held().connection().script(sql.into_sql_str()).await;
        lease.done(result)
    }

    /// Calls this once the transaction is committed, in the context that is current then: the caller's. Forgotten if
    /// this try fails. Several are called in the order in which they were given.
    #[doc(alias = "call_after")]
    pub fn after_commit(&self, callback: impl FnOnce() + Send + 'static) {
        self.seat.callbacks(|callbacks| callbacks.after_commit(callback));
    }

    /// Calls this if the transaction is not committed in the end: failed, panicked, or cancelled; in the caller's
    /// context. Forgotten if this try fails and another one follows.
    #[doc(alias = "call_on_exception")]
    pub fn on_failure(&self, callback: impl FnOnce() + Send + 'static) {
        self.seat.callbacks(|callbacks| callbacks.on_failure(callback));
    }

    /// sqlx's own connection to SQLite, for what there is no method for. Say [`done`](Native::done) at the end: a
    /// connection that is dropped without was in the middle of a statement.
    ///
    /// # Errors
    /// [`Error::OtherBackend`] if the database is not SQLite.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(&mut self) -> Result<Native<'_>, Error> {
        Native::of(self.seat.lease()?, Backend::Sqlite)
    }

    /// sqlx's own connection to PostgreSQL, for what there is no method for: see [`sqlite`](Self::sqlite).
    ///
    /// # Errors
    /// [`Error::OtherBackend`] if the database is not PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn postgres(&mut self) -> Result<Native<'_>, Error> {
        Native::of(self.seat.lease()?, Backend::Postgres)
    }

    fn begin(&self, parameters: impl Parameters) -> Result<(Lease<'_>, Arguments), Error> {
        let lease = self.seat.lease()?;
        let backend = lease.backend().ok_or(Error::Over)?;
        let arguments = Arguments::of(backend, parameters).map_err(Error::Database)?;
        Ok((lease, arguments))
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A transaction's connection, as the driver has it.
pub struct Native<'a> {
    lease: Lease<'a>,
}

impl<'a> Native<'a> {
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn of(lease: Lease<'a>, wanted: Backend) -> Result<Self, Error> {
        match lease.backend() {
            Some(found) if found == wanted => Ok(Self { lease }),
            Some(found) => Err(Error::OtherBackend { found }),
            None => Err(Error::Over),
        }
    }

    /// The connection, if the database is SQLite.
    #[cfg(feature = "sqlite")]
    pub fn sqlite_connection(&mut self) -> Option<&mut sqlx::SqliteConnection> {
        self.lease.held().connection().sqlite()
    }

    /// The connection, if the database is PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn postgres_connection(&mut self) -> Option<&mut sqlx::PgConnection> {
        self.lease.held().connection().postgres()
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

//! [`Txn`]: what the closure of an interaction works with.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use logcontext::current_context;
use sqlx::SqlSafeStr;

use crate::interaction::{Lease, Seat};
use crate::value::Arguments;
use crate::{Backend, DB_ROWS_FETCHED, Error, Native, Parameters, Row};

/// A transaction that is open: given to the closure of [`Database::run_interaction`](crate::Database::run_interaction).
///
/// Statements have their parameters as `$1`, `$2`, .. on both databases. What they are written in is a literal, or
/// [`AssertSqlSafe`](crate::AssertSqlSafe) says that somebody has looked.
///
/// A statement that is dropped before it has ended, by a timeout for one, takes the transaction with it: all further
/// statements fail with [`Error::Interrupted`], and it is rolled back.
///
/// A statement that fails leaves the transaction as it was on SQLite, unless SQLite rolls it back by itself (a full
/// disk, a statement timeout while it wrote, `ON CONFLICT ROLLBACK`). On PostgreSQL the transaction has failed with it,
/// unless it goes back to a `SAVEPOINT` that it has made before. A closure that ignores this and answers `Ok` is told
/// [`Error::Failed`].
///
/// The transaction is begun and ended by the library: `BEGIN`, `COMMIT` and `ROLLBACK` are no statements for it.
///
/// The closure should not wait for another transaction on the same database: where all connections are in the hands of
/// those who wait for one more, nobody goes on before the acquire timeout. One that does raises a diagnostic
/// ([`TransactionInside`](logcontext::diagnostics::DiagnosticKind::TransactionInside)); one that would wait for itself,
/// on SQLite any that writes inside of one that writes, is told [`Error::Nested`] at once. Only what the closure's own
/// future does is seen, and not what it starts in another task and waits for.
pub struct Txn {
    seat: Arc<Seat>,
    name: &'static str,
    backend: Backend,
}

impl Txn {
    pub(crate) fn new(seat: Arc<Seat>, name: &'static str, backend: Backend) -> Self {
        Self { seat, name, backend }
    }

    /// The name of the transaction.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Which kind of database it is, for statements that differ.
    pub fn backend(&self) -> Backend {
        self.backend
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
        let result = lease.connection().fetch::<Vec<Row>>(sql.into_sql_str(), &mut Some(arguments)).await;
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
        let result = lease.connection().fetch::<Option<Row>>(sql.into_sql_str(), &mut Some(arguments)).await;
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
    pub async fn query_one(
        &mut self,
        sql: impl SqlSafeStr,
        parameters: impl Parameters,
    ) -> Result<Row, Error> {
        let row = self.query_optional(sql, parameters).await?;
        row.ok_or(Error::Database(sqlx::Error::RowNotFound))
    }

    /// Runs a statement; answers how many rows it changed.
    ///
    /// # Errors
    /// The database's, as [`Error`] tells them apart.
    pub async fn execute(&mut self, sql: impl SqlSafeStr, parameters: impl Parameters) -> Result<u64, Error> {
        let (mut lease, arguments) = self.begin(parameters)?;
        let result = lease.connection().execute(sql.into_sql_str(), arguments).await;
        lease.done(result)
    }

    /// Runs a statement once for each of the parameters; answers how many rows were changed in all.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # use logcontext_db::{Database, Error};
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// # let db = Database::open("sqlite::memory:").await?;
    /// let added = db
    ///     .run_interaction("add_users", |mut txn| async move {
    ///         txn.execute_script("CREATE TABLE users (name TEXT, age BIGINT)").await?;
    ///         txn.execute_batch("INSERT INTO users VALUES ($1, $2)", [("alice", 30_i64), ("bob", 20)]).await
    ///     })
    ///     .await?;
    /// assert_eq!(added, 2);
    /// # Ok::<(), Error>(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    ///
    /// All of the batch is read before the first statement runs, so it may borrow from whatever it likes.
    ///
    /// # Errors
    /// The first of the database's; those before it have taken effect, if the transaction does. If one of the
    /// parameters cannot be put into the database's terms, no statement runs.
    pub fn execute_batch<P: Parameters>(
        &mut self,
        sql: impl SqlSafeStr,
        batch: impl IntoIterator<Item = P>,
    ) -> impl Future<Output = Result<u64, Error>> {
        // Not inside of the future: that would be as little `Send` as the iterator.
        let arguments = |parameters| Arguments::of(self.backend, parameters).map_err(Error::Database);
        let batch = batch.into_iter().map(arguments).collect::<Result<Vec<_>, _>>();
        let sql = sql.into_sql_str();
        async move {
            let mut changed = 0;
            for arguments in batch? {
                let mut lease = self.seat.lease()?;
                let result = lease.connection().execute(sql.clone(), arguments).await;
                changed += lease.done(result)?;
            }
            Ok(changed)
        }
    }

    /// Runs any number of statements without parameters, separated by semicolons.
    ///
    /// # Errors
    /// The first of the database's.
    pub async fn execute_script(&mut self, sql: impl SqlSafeStr) -> Result<(), Error> {
        let mut lease = self.seat.lease()?;
        let result = lease.connection().script(sql.into_sql_str()).await;
        lease.done(result)
    }

    /// Calls this once the transaction is committed, in the caller's context, also if nobody waits for it any more.
    /// Forgotten if this try fails. Several are called in the order in which they were given; one that panics is
    /// reported, and the next one is called. The connection has been given back by then.
    ///
    /// They are called where the interaction ends, and must not block. What takes its time goes on in the
    /// background: [`run_in_background`](logcontext::run_in_background).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # use logcontext_db::{Database, Error};
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// # let db = Database::open("sqlite::memory:").await?;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    ///
    /// let told = Arc::new(AtomicBool::new(false));
    /// db.run_interaction("tell", |txn| {
    ///     let to_tell = Arc::clone(&told);
    ///     async move {
    ///         txn.after_commit(move || to_tell.store(true, Relaxed));
    ///         Ok::<(), Error>(())
    ///     }
    /// })
    /// .await?;
    /// assert!(told.load(Relaxed));
    /// # Ok::<(), Error>(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    #[doc(alias = "call_after")]
    pub fn after_commit(&self, callback: impl FnOnce() + Send + 'static) {
        self.seat.callbacks(|callbacks| callbacks.after_commit(callback));
    }

    /// Calls this if the transaction is not committed in the end: failed, panicked, or cancelled, in the caller's
    /// context, once it has been rolled back. Forgotten if this try fails and another one follows. Otherwise as
    /// [`after_commit`](Self::after_commit).
    ///
    /// Where the connection was lost during the commit, nobody knows how that ended: this is called then as well.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # use logcontext_db::{Database, Error};
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// # let db = Database::open("sqlite::memory:").await?;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    ///
    /// let told = Arc::new(AtomicBool::new(false));
    /// let failed = db
    ///     .run_interaction("tell", |mut txn| {
    ///         let to_tell = Arc::clone(&told);
    ///         async move {
    ///             txn.on_failure(move || to_tell.store(true, Relaxed));
    ///             txn.execute("INSERT INTO nowhere VALUES (1)", ()).await
    ///         }
    ///     })
    ///     .await;
    /// assert!(failed.is_err() && told.load(Relaxed));
    /// # Ok::<(), Error>(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    #[doc(alias = "call_on_exception")]
    pub fn on_failure(&self, callback: impl FnOnce() + Send + 'static) {
        self.seat.callbacks(|callbacks| callbacks.on_failure(callback));
    }

    /// sqlx's own connection to SQLite, for what there is no method for. Say [`done`](Native::done) at the end: a
    /// connection that is dropped without was in the middle of a statement. It is in a transaction of ours: for a part
    /// that may fail, `SAVEPOINT` is a statement like others, and sqlx's `begin` is an error. Its progress handler and
    /// rollback hook are taken.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # use logcontext_db::{Database, Error};
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// # let db = Database::open("sqlite::memory:").await?;
    /// use logcontext_db::sqlx;
    ///
    /// let version: String = db
    ///     .run_interaction("version", |mut txn| async move {
    ///         let mut native = txn.sqlite()?;
    ///         let connection = native.sqlite_connection().expect("it is SQLite");
    ///         let version = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await;
    ///         native.done(version)
    ///     })
    ///     .await?;
    /// assert!(version.starts_with("3."));
    /// # Ok::<(), Error>(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Error::OtherBackend`] if the database is not SQLite.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(&mut self) -> Result<Native<'_>, Error> {
        self.native(Backend::Sqlite)
    }

    /// sqlx's own connection to PostgreSQL, for what there is no method for: see [`sqlite`](Self::sqlite).
    ///
    /// # Errors
    /// [`Error::OtherBackend`] if the database is not PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn postgres(&mut self) -> Result<Native<'_>, Error> {
        self.native(Backend::Postgres)
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn native(&mut self, wanted: Backend) -> Result<Native<'_>, Error> {
        if self.backend != wanted {
            return Err(Error::OtherBackend { found: self.backend });
        }
        Ok(Native::new(self.seat.lease()?))
    }

    fn begin(&self, parameters: impl Parameters) -> Result<(Lease<'_>, Arguments), Error> {
        let arguments = Arguments::of(self.backend, parameters).map_err(Error::Database)?;
        Ok((self.seat.lease()?, arguments))
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn").field("name", &self.name).finish_non_exhaustive()
    }
}

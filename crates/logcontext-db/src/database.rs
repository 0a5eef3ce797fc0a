//! [`Database`]: the handle.

use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use logcontext::diagnostics::{DiagnosticKind, Report};
use logcontext::source::{Collector, Figure, Source};
use logcontext::{Background, LogContext, Supervisor, background, current_context};
use sqlx::SqlSafeStr;
use tokio::runtime::Handle;

use crate::backend::Address;
#[cfg(feature = "postgres")]
use crate::connection::Canceller;
use crate::connection::{OpenConnections, Opener, Role};
use crate::interaction::{Interaction, Sums, Transactions};
use crate::pool::Pool;
use crate::settings::Settings;
use crate::{Backend, DatabaseBuilder, Error, Parameters, Row, Txn, Waiting, plain};
use crate::{interaction, migrations, pool};

/// What the first connection is for, to those who look who waits.
const OPENING: &str = "open_database";

/// How long a database may take to close when it was not opened after all.
const NOT_OPENED: Duration = Duration::from_secs(5);

/// A database, SQLite or PostgreSQL: a pool of connections that tells every context what it waited for them, how
/// many transactions it made, and how long they took. Cheap to clone.
///
/// A connection to PostgreSQL belongs to the runtime in which it was opened, as every socket does. Another runtime of
/// the process can use it while that one runs, and opens connections of its own after that one has been shut down; a
/// current-thread runtime that nobody drives keeps its connections silent. After a `fork`, only one of the two
/// processes can go on with a database: open it after that.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
/// use logcontext::{FutureExt, LogContext};
/// use logcontext_db::{Database, Error, Migration};
/// use std::time::Duration;
///
/// let request = LogContext::new("PUT-1");
/// async {
///     let db = Database::builder("sqlite::memory:")
///         .migrations([Migration::new(1, "presence", "CREATE TABLE presence (name TEXT, state TEXT)")])
///         .open()
///         .await?;
///     let user = "alice";
///     let rows = db
///         .run_interaction("set_presence", |mut txn| async move {
///             txn.execute("INSERT INTO presence VALUES ($1, $2)", (user, "online")).await?;
///             txn.query("SELECT name, state FROM presence", ()).await
///         })
///         .await?;
///     assert_eq!(rows[0].get::<&str>("state")?, "online");
///     db.close(Duration::from_secs(5)).await;
///     Ok::<(), Error>(())
/// }
/// .in_context(request.clone())
/// .await?;
/// assert_eq!(request.usage().db_txn_count, 1);
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))] fn main() {}
/// ```
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    backend: Backend,
    /// All connections of PostgreSQL; SQLite's only one that writes.
    writers: Arc<Pool>,
    /// SQLite's other ones.
    readers: Option<Arc<Pool>>,
    transactions: Transactions,
    open: Arc<OpenConnections>,
    #[cfg(feature = "postgres")]
    canceller: Arc<Canceller>,
    reaper: OnceLock<Background<()>>,
}

/// How a database was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Connections that were not given back by the deadline.
    pub left_open: usize,
}

impl Database {
    /// A database at this address, to be opened: `sqlite:presence.db?mode=rwc`, `sqlite::memory:`,
    /// `postgres://user@host/database`.
    pub fn builder(url: impl Into<String>) -> DatabaseBuilder {
        DatabaseBuilder::new(url.into())
    }

    /// Opens the database at this address with all limits as they are.
    ///
    /// # Errors
    /// As [`DatabaseBuilder::open`].
    pub async fn open(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).open().await
    }

    pub(crate) async fn open_with(builder: DatabaseBuilder) -> Result<Self, Error> {
        let DatabaseBuilder { url, name, settings, migrations, connect_within } = builder;
        let address: Address = url.parse()?;
        let backend = address.backend();
        let settings = Arc::new(settings);
        let open = Arc::new(OpenConnections::default());
        #[cfg(feature = "postgres")]
        let canceller = Arc::new(Canceller::of(&address, &open));
        let opener = |role| Opener {
            address: address.clone(),
            role,
            settings: Arc::clone(&settings),
            open: Arc::clone(&open),
            runtime: Handle::current(),
            #[cfg(feature = "postgres")]
            canceller: Arc::clone(&canceller),
        };
        let pool = |pool: &str, size, role| Pool::new(pool.into(), Arc::clone(&name), size, opener(role));
        let (writers, readers) = match backend {
            Backend::Postgres => (pool("all", settings.max_connections, Role::Any), None),
            // Nobody else would see what is in memory.
            Backend::Sqlite if address.is_in_memory() => (pool("all", 1, Role::Any), None),
            Backend::Sqlite => {
                (pool("writer", 1, Role::Any), Some(pool("readers", settings.max_connections, Role::Reader)))
            }
        };
        let inner = Inner {
            name: Arc::clone(&name),
            backend,
            writers,
            readers,
            transactions: Transactions::default(),
            open,
            #[cfg(feature = "postgres")]
            canceller,
            reaper: OnceLock::new(),
        };
        // If this is dropped half-way, so is the only handle: then everything is closed as well.
        let database = Self(Arc::new(inner));
        let context = current_context();
        let opened = async {
            let mut held = database.0.writers.acquire_within(&context, OPENING, connect_within).await?;
            if migrations.is_empty() {
                held.release();
            } else {
                let applied = migrations::apply(&mut held, &name, migrations).await;
                held.settle().await;
                applied?;
            }
            Ok(())
        };
        if let Err(error) = opened.await {
            database.close(NOT_OPENED).await;
            return Err(error);
        }
        database.watch_idle(&settings);
        Supervisor::current().register(&(Arc::clone(&database.0) as Arc<dyn Source>));
        Ok(database)
    }

    fn watch_idle(&self, settings: &Settings) {
        if self.0.writers.is_private() {
            // Closing it would be the end of what is in memory.
            return;
        }
        let (limit, database) = (settings.idle_timeout, Arc::downgrade(&self.0));
        let period = (limit / 4).clamp(Duration::from_millis(50), Duration::from_secs(60));
        let reaper = background::every("close_idle_connections", period).run(move || {
            let database = Weak::clone(&database);
            async move {
                if let Some(database) = database.upgrade() {
                    database.close_idle(limit).await;
                }
            }
        });
        let _ = self.0.reaper.set(reaper);
    }

    /// Its name. Metrics tell databases apart by it: two that are open at the same time should not share one.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Which kind of database it is.
    pub fn backend(&self) -> Backend {
        self.0.backend
    }

    /// Runs a transaction of this name in the current context, and commits it if the closure answers `Ok`. Whatever
    /// else happens, it is rolled back: an error, a panic (which goes on), or this future being dropped.
    ///
    /// If another transaction was in the way (a serialization failure, a deadlock, SQLite busy), the closure is
    /// called again, after a pause, up to [`max_tries`](DatabaseBuilder::max_tries) times. So it must not do what
    /// cannot be done twice: that goes into [`Txn::after_commit`].
    ///
    /// It counts as one transaction, however often it was tried and however it ended; its time is that with a
    /// connection, and what it waited for one is apart. From the sentinel it raises a diagnostic: nobody would see
    /// what it cost.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// # let db = logcontext_db::Database::open("sqlite::memory:").await?;
    /// use logcontext_db::Error;
    ///
    /// let total = db
    ///     .run_interaction("add", |mut txn| async move {
    ///         let row = txn.query_one("SELECT $1 + $2", (1_i64, 2_i64)).await?;
    ///         row.get::<i64>(0)
    ///     })
    ///     .await?;
    /// assert_eq!(total, 3);
    /// # Ok(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    ///
    /// # Errors
    /// The closure's, or the database's made into one of those.
    #[track_caller]
    #[doc(alias = "runInteraction")]
    pub fn run_interaction<T, E, F, Fut>(
        &self,
        name: &'static str,
        closure: F,
    ) -> impl Future<Output = Result<T, E>>
    where
        F: FnMut(Txn) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        self.interaction(name).run(closure)
    }

    /// A transaction of this name with more than that: read only, an isolation level, a number of tries.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// # let db = logcontext_db::Database::open("sqlite::memory:").await?;
    /// let one = db.interaction("count").read_only().max_tries(1);
    /// let one = one.run(|mut txn| async move { txn.query_one("SELECT 1", ()).await }).await?;
    /// assert_eq!(one.get::<i64>(0)?, 1);
    /// # Ok::<(), logcontext_db::Error>(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    #[track_caller]
    pub fn interaction(&self, name: &'static str) -> Interaction<'_> {
        Interaction {
            database: self,
            name,
            origin: Location::caller(),
            read_only: false,
            isolation: None,
            max_tries: self.0.writers.settings.max_tries,
        }
    }

    /// All rows that one query answers: a transaction of its own, which only reads. Asked again if the connection
    /// turns out to have been lost while it was idle.
    ///
    /// # Errors
    /// The database's, as [`Error`] tells them apart.
    #[track_caller]
    pub fn query(
        &self,
        name: &'static str,
        sql: impl SqlSafeStr,
        parameters: impl Parameters,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> {
        plain::query::<Vec<Row>>(self, name, sql.into_sql_str(), parameters, Location::caller())
    }

    /// The first row that one query answers, if there is one: see [`query`](Self::query).
    ///
    /// # Errors
    /// The database's, as [`Error`] tells them apart.
    #[track_caller]
    pub fn query_optional(
        &self,
        name: &'static str,
        sql: impl SqlSafeStr,
        parameters: impl Parameters,
    ) -> impl Future<Output = Result<Option<Row>, Error>> {
        plain::query::<Option<Row>>(self, name, sql.into_sql_str(), parameters, Location::caller())
    }

    /// The first row that one query answers: see [`query`](Self::query).
    ///
    /// # Errors
    /// [`sqlx::Error::RowNotFound`] in an [`Error::Database`] if there is none, and the database's.
    #[track_caller]
    pub fn query_one(
        &self,
        name: &'static str,
        sql: impl SqlSafeStr,
        parameters: impl Parameters,
    ) -> impl Future<Output = Result<Row, Error>> {
        let row = self.query_optional(name, sql, parameters);
        async move { row.await?.ok_or(Error::Database(sqlx::Error::RowNotFound)) }
    }

    /// Runs one statement as a transaction of its own; answers how many rows it changed. It is not tried again: see
    /// [`run_interaction`](Self::run_interaction) for what others may be in the way of.
    ///
    /// # Errors
    /// The database's, as [`Error`] tells them apart.
    #[track_caller]
    pub fn execute(
        &self,
        name: &'static str,
        sql: impl SqlSafeStr,
        parameters: impl Parameters,
    ) -> impl Future<Output = Result<u64, Error>> {
        plain::execute(self, name, sql.into_sql_str(), parameters, Location::caller())
    }

    /// Who waits for a connection now, and since when.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.0.pools().flat_map(|pool| pool.waiting()).collect()
    }

    /// How many connections are open, being opened, or being closed.
    pub fn open_connections(&self) -> usize {
        self.0.open.get()
    }

    /// How many connections are in use.
    pub fn connections_in_use(&self) -> usize {
        self.0.pools().map(|pool| pool.counts().1).sum()
    }

    /// Closes it: gives out no more connections, refuses who waits for one with [`Error::Closed`], and closes all
    /// connections, those in use as soon as they are given back. Waits for that until the deadline. SQLite's files
    /// are free by then; PostgreSQL may list a session for a moment after it has been told that it is over.
    ///
    /// To be called at the end, after [`Supervisor::shutdown`], when nothing runs any more that uses it. What the
    /// shutdown has aborted is still being ended then, statements are being cancelled for one: this waits for it.
    /// Where the last handle is dropped without, connections are closed all the same, and nobody hears when.
    pub async fn close(&self, deadline: Duration) -> Closed {
        if let Some(reaper) = self.0.reaper.get() {
            reaper.abort();
        }
        // At once, and before anything is waited for.
        let idle = self.0.pools().flat_map(|pool| pool.close()).collect();
        let closing = async {
            pool::close_all(idle).await;
            #[cfg(feature = "postgres")]
            self.0.canceller.close().await;
            self.0.open.all_gone().await;
        };
        let _ = tokio::time::timeout(deadline, closing).await;
        Closed { left_open: self.0.open.get() }
    }

    pub(crate) fn pool(&self, read_only: bool) -> &Arc<Pool> {
        match &self.0.readers {
            Some(readers) if read_only => readers,
            _ => &self.0.writers,
        }
    }

    /// The sums of the transactions of this name.
    pub(crate) fn sums(&self, name: &'static str) -> &Arc<Sums> {
        self.0.transactions.sums(name)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.writers.settings
    }
}

/// The context that pays for a transaction of this name. In the sentinel that raises a diagnostic.
pub(crate) fn payer(name: &str, origin: &'static Location<'static>) -> LogContext {
    let context = current_context();
    if context.is_sentinel() {
        Report::new(DiagnosticKind::TransactionFromSentinel, &context).origin(origin).detail(name).raise();
    }
    context
}

impl Inner {
    fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        std::iter::once(&self.writers).chain(&self.readers)
    }

    async fn close_idle(&self, limit: Duration) {
        for pool in self.pools() {
            let closed = pool.reap(limit).await;
            if closed > 0 {
                tracing::debug!(target: "logcontext::db", pool = &*pool.name, closed, "closed idle connections");
            }
        }
        #[cfg(feature = "postgres")]
        self.canceller.close_if_idle(limit).await;
    }
}

/// Nobody can use it any more: what is idle is closed, and what is in use when it is given back.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(reaper) = self.reaper.get() {
            reaper.abort();
        }
        #[cfg(feature = "postgres")]
        self.canceller.keep_no_more();
        for pool in self.pools() {
            drop(pool.close());
        }
    }
}

static FIGURES: [Figure; 14] = {
    let (of_pools, of_transactions) = (pool::describe(), interaction::describe());
    let mut all = [of_pools[0]; 14];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < of_pools.len() { of_pools[i] } else { of_transactions[i - of_pools.len()] };
        i += 1;
    }
    all
};

impl Source for Inner {
    fn describe(&self) -> &[Figure] {
        &FIGURES
    }

    fn collect(&self, out: &mut dyn Collector) {
        for pool in self.pools() {
            pool::collect(&self.name, pool, out);
        }
        interaction::collect(&self.name, &self.transactions, out);
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.0.name).field("backend", &self.0.backend).finish()
    }
}

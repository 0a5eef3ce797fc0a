//! [`AccountedPool`]: a service's own `sqlx::Pool`, with its costs in the books.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::{Duration, Instant};

use logcontext::LogContext;
use sqlx::pool::PoolConnection;
use sqlx::{Pool, Transaction};

use crate::database::payer;

/// A service's own `sqlx::Pool`, for services that stay with it: what is done with its connections counts for the
/// current context. Cheap to clone.
///
/// What sqlx's pool takes to give a connection is waiting, connecting and pinging in one: nobody outside can tell how
/// much of it was which. So it goes to [`db_acquire`](logcontext::ResourceUsage::db_acquire), and how long the context
/// has waited is unknown from then on, `-` in its access line. [`Database`](crate::Database) knows.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sqlx::Error> {
/// use logcontext::{FutureExt, LogContext};
/// use logcontext_db::{AccountedPool, sqlx};
///
/// let pool = AccountedPool::new(sqlx::SqlitePool::connect_lazy("sqlite::memory:")?);
/// let request = LogContext::new("PUT-1");
/// async {
///     let mut txn = pool.begin("set_presence").await?;
///     sqlx::query("CREATE TABLE presence (name TEXT)").execute(&mut *txn).await?;
///     sqlx::query("INSERT INTO presence VALUES ($1)").bind("alice").execute(&mut *txn).await?;
///     txn.commit().await
/// }
/// .in_context(request.clone())
/// .await?;
/// let usage = request.usage();
/// assert_eq!((usage.db_txn_count, usage.db_wait()), (1, None));
/// assert!(!usage.db_acquire.is_zero());
/// # Ok(()) }
/// # #[cfg(not(feature = "sqlite"))] fn main() {}
/// ```
pub struct AccountedPool<DB: sqlx::Database>(Pool<DB>);

impl<DB: sqlx::Database> AccountedPool<DB> {
    /// Does the books for this pool.
    pub fn new(pool: Pool<DB>) -> Self {
        Self(pool)
    }

    /// sqlx's own. What is done with it directly is in no books.
    pub fn pool(&self) -> &Pool<DB> {
        &self.0
    }

    /// A connection, for what is to be called by this name. All that is done with it until it is dropped counts as one
    /// transaction. From the sentinel it raises a diagnostic: nobody would see what it cost.
    ///
    /// # Errors
    /// sqlx's: no connection in time, none that can be opened, the pool is closed.
    #[track_caller]
    pub fn acquire(
        &self,
        name: &'static str,
    ) -> impl Future<Output = Result<Accounted<PoolConnection<DB>>, sqlx::Error>> {
        let origin = Location::caller();
        async move {
            let (connection, cost) = self.connection(name, origin).await?;
            Ok(Accounted { connection, cost })
        }
    }

    /// A transaction of this name, which counts once, however it ends; one that is dropped is rolled back. Its time is
    /// that from getting the connection to the end of the commit or the rollback, or to the drop: sqlx rolls back later
    /// then. From the sentinel it raises a diagnostic: nobody would see what it cost.
    ///
    /// # Errors
    /// sqlx's: no connection in time, none that can be opened, the pool is closed, the transaction cannot be begun.
    #[track_caller]
    pub fn begin(
        &self,
        name: &'static str,
    ) -> impl Future<Output = Result<Accounted<Transaction<'static, DB>>, sqlx::Error>> {
        let origin = Location::caller();
        async move {
            let (connection, cost) = self.connection(name, origin).await?;
            // What the pool's own `begin` does, which would be one time for both.
            let connection = Transaction::begin(connection, None).await?;
            Ok(Accounted { connection, cost })
        }
    }

    async fn connection(
        &self,
        name: &'static str,
        origin: &'static Location<'static>,
    ) -> Result<(PoolConnection<DB>, Cost), sqlx::Error> {
        let context = payer(name, origin);
        // Recorded also if there is no connection in the end, or if nobody waits for it any more.
        let getting = Cost::of(&context, LogContext::record_db_acquire);
        let connection = self.0.acquire().await?;
        drop(getting);
        Ok((connection, Cost::of(&context, LogContext::record_db_transaction)))
    }
}

impl<DB: sqlx::Database> Clone for AccountedPool<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: sqlx::Database> fmt::Debug for AccountedPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountedPool").field("size", &self.0.size()).finish_non_exhaustive()
    }
}

/// A connection or a transaction of an [`AccountedPool`]. Statements take `&mut *it`, as with sqlx's own.
#[must_use = "what is dropped is given back, and rolled back"]
pub struct Accounted<C> {
    connection: C,
    /// Dropped after the connection: its time is over then.
    cost: Cost,
}

impl<DB: sqlx::Database> Accounted<Transaction<'_, DB>> {
    /// Commits.
    ///
    /// # Errors
    /// The database's. The transaction counts all the same.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { connection, cost: _cost } = self;
        connection.commit().await
    }

    /// Rolls back, and waits until that is done.
    ///
    /// # Errors
    /// The database's. The transaction counts all the same.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        let Self { connection, cost: _cost } = self;
        connection.rollback().await
    }
}

impl<C: Deref> Deref for Accounted<C> {
    type Target = C::Target;

    fn deref(&self) -> &C::Target {
        &self.connection
    }
}

impl<C: DerefMut> DerefMut for Accounted<C> {
    fn deref_mut(&mut self) -> &mut C::Target {
        &mut self.connection
    }
}

impl<C> fmt::Debug for Accounted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounted").field("context", &self.cost.context).finish_non_exhaustive()
    }
}

/// A time that is recorded for a context when it is over: once, whatever its end was.
struct Cost {
    context: LogContext,
    since: Instant,
    record: fn(&LogContext, Duration),
}

impl Cost {
    fn of(context: &LogContext, record: fn(&LogContext, Duration)) -> Self {
        Self { context: context.clone(), since: Instant::now(), record }
    }
}

impl Drop for Cost {
    fn drop(&mut self) {
        // The diagnostic has been raised, by the name of the transaction.
        if !self.context.is_sentinel() {
            (self.record)(&self.context, self.since.elapsed());
        }
    }
}

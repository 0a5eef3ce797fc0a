//! [`Connection`]: one connection to either database, and what can be done with it.

mod fetching;
#[cfg(feature = "postgres")]
mod home;
mod open;
mod opener;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logcontext::{FutureExt as _, LogContext, current_context};
use sqlx::SqlStr;
use tokio::runtime::Handle;

use crate::backend::Address;
use crate::value::{Arguments, Inner as Values};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use fetching::Statement;
pub(crate) use fetching::{Answer, Fetching};
pub(crate) use open::{Counted, OpenConnections};
pub(crate) use opener::{Opener, Role};
#[cfg(feature = "postgres")]
pub(crate) use postgres::Canceller;

/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

pub(crate) struct Connection {
    /// `None` once it has been closed.
    driver: Option<Driver>,
    pub(crate) used: Instant,
    /// Opened for whoever holds it, and not used before.
    pub(crate) is_new: bool,
    /// The pool's at the time it was opened or last found alive: see `Pool::doubt`.
    pub(crate) generation: u64,
}

enum Driver {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Postgres),
    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    None(std::convert::Infallible),
}

/// The connection was closed, or is another kind than the arguments are for: neither happens.
fn gone() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::NotConnected.into())
}

/// Runs the same for whichever driver it is.
macro_rules! on_driver {
    ($self:expr, $driver:ident => $body:expr) => {
        match $self.driver.as_mut() {
            #[cfg(feature = "sqlite")]
            Some(Driver::Sqlite($driver)) => $body,
            #[cfg(feature = "postgres")]
            Some(Driver::Postgres($driver)) => $body,
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Some(Driver::None(never)) => match *never {},
            None => Err(gone()),
        }
    };
}

impl Connection {
    pub(crate) async fn open(opener: &Opener, generation: u64) -> Result<Self, sqlx::Error> {
        // First: a connection that is being opened is one that must end before the database is closed. Counted until
        // it is really gone: that is up to the drivers.
        let counted = opener.open.count();
        let driver = match &opener.address {
            #[cfg(feature = "sqlite")]
            Address::Sqlite { options, .. } => {
                let (options, settings, role) = (options.clone(), Arc::clone(&opener.settings), opener.role);
                let opening = async move { sqlite::Sqlite::open(&options, role, &settings, counted).await };
                Driver::Sqlite(opener.on_its_own(opening).await?)
            }
            #[cfg(feature = "postgres")]
            Address::Postgres(options) => Driver::Postgres(
                postgres::Postgres::open(options, &opener.settings, Arc::clone(&opener.canceller), counted)
                    .await?,
            ),
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Address::None(never) => match *never {},
        };
        Ok(Self { driver: Some(driver), used: Instant::now(), is_new: true, generation })
    }

    /// Runs a statement without arguments and results: `BEGIN`, `COMMIT`.
    pub(crate) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        on_driver!(self, driver => driver.simple(sql).await)
    }

    /// Has the runtime gone that its socket belongs to? SQLite's connections have threads of their own.
    #[inline]
    pub(crate) fn is_homeless(&self) -> bool {
        match &self.driver {
            #[cfg(feature = "postgres")]
            Some(Driver::Postgres(driver)) => driver.is_homeless(),
            _ => false,
        }
    }

    /// Begins a transaction with this statement.
    pub(crate) async fn begin(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        on_driver!(self, driver => driver.begin(sql).await)
    }

    /// Is it known to be so already? Where it cannot be told, there is nothing to be done.
    pub(crate) fn is_told(&self, only_reads: bool) -> bool {
        match &self.driver {
            #[cfg(feature = "sqlite")]
            Some(Driver::Sqlite(driver)) => driver.is_told(only_reads),
            _ => {
                let _ = only_reads;
                true
            }
        }
    }

    /// What follows may only read, or may write as well.
    pub(crate) async fn only_reads(&mut self, only_reads: bool) -> Result<(), sqlx::Error> {
        match self.driver.as_mut() {
            #[cfg(feature = "sqlite")]
            Some(Driver::Sqlite(driver)) => driver.only_reads(only_reads).await,
            _ => {
                let _ = only_reads;
                Ok(())
            }
        }
    }

    /// Has the database rolled back the transaction by itself, since it was begun?
    pub(crate) fn has_rolled_back(&self) -> bool {
        match &self.driver {
            #[cfg(feature = "sqlite")]
            Some(Driver::Sqlite(driver)) => driver.has_rolled_back(),
            _ => false,
        }
    }

    /// Runs any number of statements, separated by semicolons.
    pub(crate) async fn script(&mut self, sql: SqlStr) -> Result<(), sqlx::Error> {
        on_driver!(self, driver => driver.script(sql).await)
    }

    /// Asks for all rows, or for the first one. The arguments are taken.
    pub(crate) fn fetch<'a, A: Answer>(
        &'a mut self,
        sql: SqlStr,
        arguments: &'a mut Option<Arguments>,
    ) -> Fetching<'a, A> {
        match self.driver.as_mut() {
            #[cfg(feature = "sqlite")]
            Some(Driver::Sqlite(driver)) => {
                let _limit = driver.limit();
                let answer = A::ask_sqlite(driver.connection(), Statement { sql, arguments });
                Fetching::Sqlite { answer, _limit }
            }
            #[cfg(feature = "postgres")]
            Some(Driver::Postgres(driver)) => {
                Fetching::Postgres(A::ask_postgres(driver.connection(), Statement { sql, arguments }))
            }
            _ => {
                let _ = (sql, arguments);
                Fetching::Gone(PhantomData)
            }
        }
    }

    /// Answers how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: SqlStr, arguments: Arguments) -> Result<u64, sqlx::Error> {
        match (self.driver.as_mut(), arguments.0) {
            #[cfg(feature = "sqlite")]
            (Some(Driver::Sqlite(driver)), Values::Sqlite(arguments)) => driver.execute(sql, arguments).await,
            #[cfg(feature = "postgres")]
            (Some(Driver::Postgres(driver)), Values::Postgres(arguments)) => {
                driver.execute(sql, arguments).await
            }
            _ => {
                let _ = sql;
                Err(gone())
            }
        }
    }

    /// Asks the server whether it is still there.
    pub(crate) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        on_driver!(self, driver => driver.ping().await)
    }

    /// Asks the statement that is running to end: where that can be done without waiting.
    pub(crate) fn interrupt(&self) {
        #[cfg(feature = "sqlite")]
        if let Some(Driver::Sqlite(driver)) = &self.driver {
            driver.interrupt();
        }
    }

    /// Ends what was left behind: the statement that may be running, the transaction that may be open. Answers
    /// whether the connection can be used again.
    pub(crate) async fn settle(&mut self, in_flight: bool, in_transaction: bool) -> bool {
        match self.driver.as_mut() {
            #[cfg(feature = "sqlite")]
            Some(Driver::Sqlite(driver)) => driver.settle(in_flight, in_transaction).await,
            #[cfg(feature = "postgres")]
            Some(Driver::Postgres(driver)) => driver.settle(in_flight, in_transaction).await,
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Some(Driver::None(never)) => match *never {},
            None => false,
        }
    }

    /// Charges what the driver has burned for this connection on threads of its own.
    pub(crate) fn charge(&self, context: &LogContext) {
        #[cfg(feature = "sqlite")]
        if let Some(Driver::Sqlite(driver)) = &self.driver {
            driver.charge(context);
        }
        let _ = context;
    }

    /// Closes it and waits until that is done. It is gone afterwards, also on an error.
    pub(crate) async fn close(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.close().await;
        }
    }

    /// Drops it without a goodbye: nobody is there who would hear it, or something is running that nobody could end.
    pub(crate) fn cut(mut self) {
        match self.driver.take() {
            #[cfg(feature = "sqlite")]
            Some(Driver::Sqlite(driver)) => driver.cut(),
            other => drop(other),
        }
    }

    /// sqlx's own connection, for what there is no method for.
    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite(&mut self) -> Option<&mut sqlx::SqliteConnection> {
        match self.driver.as_mut() {
            Some(Driver::Sqlite(driver)) => Some(driver.connection()),
            #[allow(unreachable_patterns, reason = "where both are built in")]
            _ => None,
        }
    }

    /// sqlx's own connection, for what there is no method for.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(&mut self) -> Option<&mut sqlx::PgConnection> {
        match self.driver.as_mut() {
            Some(Driver::Postgres(driver)) => Some(driver.connection()),
            #[allow(unreachable_patterns, reason = "where both are built in")]
            _ => None,
        }
    }
}

/// Whatever becomes of a connection, the other side is told: a pool that is closed at the very moment at which a
/// connection comes back drops it.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take()
            && let Ok(runtime) = Handle::try_current()
        {
            #[expect(clippy::disallowed_methods, reason = "counted: who closes the database waits for it")]
            runtime.spawn(driver.close().following(current_context()));
        }
    }
}

impl Driver {
    async fn close(self) {
        let closing = async {
            let closed: Result<(), sqlx::Error> = match self {
                #[cfg(feature = "sqlite")]
                Self::Sqlite(driver) => driver.close().await,
                #[cfg(feature = "postgres")]
                Self::Postgres(driver) => driver.close().await,
                #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
                Self::None(never) => match never {},
            };
            closed
        };
        match tokio::time::timeout(GOODBYE, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(target: "logcontext::db", %error, "connection was closed with an error");
            }
            Err(_) => tracing::debug!(target: "logcontext::db", "server did not say goodbye in time"),
        }
    }
}

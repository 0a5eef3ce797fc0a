//! [`Connection`]: one connection to either database, and what can be done with it.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use logcontext::LogContext;
use sqlx::SqlStr;
use tokio::sync::Notify;

use crate::backend::Address;
use crate::settings::Settings;
use crate::value::{Arguments, Inner as Values};
use crate::{Backend, Row, row};

#[cfg(feature = "postgres")]
pub(crate) use postgres::Canceller;

/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a connection may be used for. SQLite has one that writes; all others only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Any,
    Reader,
}

/// What a connection is opened with.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) address: Address,
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only SQLite's connections differ"))]
    pub(crate) role: Role,
    pub(crate) settings: Arc<Settings>,
    pub(crate) open: Arc<OpenConnections>,
    #[cfg(feature = "postgres")]
    pub(crate) canceller: Arc<Canceller>,
}

pub(crate) struct Connection {
    /// `None` once it has been closed.
    driver: Option<Driver>,
    pub(crate) used: Instant,
    /// Opened for whoever holds it, and not used before.
    pub(crate) is_new: bool,
    /// The pool's at the time it was opened or last found alive: see `Pool::doubt`.
    pub(crate) generation: u64,
    _counted: Counted,
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

/// The same with the arguments of a statement.
macro_rules! with_arguments {
    ($self:expr, $arguments:expr, $driver:ident, $values:ident => $body:expr, $wrap:ident) => {
        match ($self.driver.as_mut(), $arguments.0) {
            #[cfg(feature = "sqlite")]
            (Some(Driver::Sqlite($driver)), Values::Sqlite($values)) => {
                use row::Inner::Sqlite as $wrap;
                $body
            }
            #[cfg(feature = "postgres")]
            (Some(Driver::Postgres($driver)), Values::Postgres($values)) => {
                use row::Inner::Postgres as $wrap;
                $body
            }
            _ => Err(gone()),
        }
    };
}

impl Connection {
    pub(crate) async fn open(opener: &Opener, generation: u64) -> Result<Self, sqlx::Error> {
        // First: a connection that is being opened is one that must end before the database is closed.
        let counted = opener.open.count();
        let driver = match &opener.address {
            #[cfg(feature = "sqlite")]
            Address::Sqlite(options) => {
                Driver::Sqlite(sqlite::Sqlite::open(options, opener.role, &opener.settings).await?)
            }
            #[cfg(feature = "postgres")]
            Address::Postgres(options) => Driver::Postgres(
                postgres::Postgres::open(options, &opener.settings, Arc::clone(&opener.canceller)).await?,
            ),
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Address::None(never) => match *never {},
        };
        Ok(Self { driver: Some(driver), used: Instant::now(), is_new: true, generation, _counted: counted })
    }

    /// Runs a statement without arguments and results: `BEGIN`, `COMMIT`.
    pub(crate) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        on_driver!(self, driver => driver.simple(sql).await)
    }

    /// Runs any number of statements, separated by semicolons.
    pub(crate) async fn script(&mut self, sql: SqlStr) -> Result<(), sqlx::Error> {
        on_driver!(self, driver => driver.script(sql).await)
    }

    pub(crate) async fn fetch_all(
        &mut self,
        sql: SqlStr,
        arguments: Arguments,
    ) -> Result<Vec<Row>, sqlx::Error> {
        with_arguments!(self, arguments, driver, values => {
            let rows = driver.fetch_all(sql, values).await?;
            Ok(rows.into_iter().map(|row| Row(Wrap(row))).collect())
        }, Wrap)
    }

    pub(crate) async fn fetch_optional(
        &mut self,
        sql: SqlStr,
        arguments: Arguments,
    ) -> Result<Option<Row>, sqlx::Error> {
        with_arguments!(self, arguments, driver, values => {
            Ok(driver.fetch_optional(sql, values).await?.map(|row| Row(Wrap(row))))
        }, Wrap)
    }

    /// Answers how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: SqlStr, arguments: Arguments) -> Result<u64, sqlx::Error> {
        with_arguments!(self, arguments, driver, values => {
            #[allow(unused_imports, reason = "rows are not asked for")]
            use Wrap as _;
            driver.execute(sql, values).await
        }, Wrap)
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
        let closing = async {
            match self.driver.take() {
                #[cfg(feature = "sqlite")]
                Some(Driver::Sqlite(driver)) => driver.close().await,
                #[cfg(feature = "postgres")]
                Some(Driver::Postgres(driver)) => driver.close().await,
                #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
                Some(Driver::None(never)) => match never {},
                None => Ok::<(), sqlx::Error>(()),
            }
        };
        match tokio::time::timeout(GOODBYE, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(target: "logcontext::db", %error, "connection was closed with an error"),
            Err(_) => tracing::debug!(target: "logcontext::db", "server did not say goodbye in time"),
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

impl Opener {
    pub(crate) fn backend(&self) -> Backend {
        self.address.backend()
    }
}

/// How many connections are open, or being opened or closed.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    open: AtomicUsize,
    none_left: Notify,
}

impl OpenConnections {
    pub(crate) fn count(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, Relaxed);
        Counted(Arc::clone(self))
    }

    pub(crate) fn get(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) async fn all_gone(&self) {
        loop {
            let notified = self.none_left.notified();
            tokio::pin!(notified);
            // Before looking: what goes in between is heard of.
            notified.as_mut().enable();
            if self.get() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// One of them. Dropped last of a connection's parts.
pub(crate) struct Counted(Arc<OpenConnections>);

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

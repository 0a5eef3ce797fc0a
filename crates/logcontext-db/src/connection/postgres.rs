//! A connection to PostgreSQL.

mod canceller;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection as _, Executor as _, Row as _, SqlStr};
use tokio::time::timeout;

use super::Counted;
use super::home::Home;
use crate::settings::Settings;
pub(crate) use canceller::Canceller;

/// How long the server may take to end what was left behind. After that the connection is closed without.
const SETTLE: Duration = Duration::from_secs(5);

/// How long a statement that nobody waits for any more may go on by itself: many are about to end anyway.
const GRACE: Duration = Duration::from_millis(10);

/// How long a statement may take to end after it has been cancelled, before it is cancelled again: the first time,
/// the server may not even have begun it.
const AGAIN: Duration = Duration::from_millis(200);

/// What the server can be told at most: its milliseconds are an `int`.
const LONGEST_LIMIT: u128 = i32::MAX as u128;

pub(super) struct Postgres {
    connection: PgConnection,
    process: Process,
    canceller: Arc<Canceller>,
    home: Home,
    _counted: Counted,
}

/// The server's process that serves a connection: what is told to cancel.
#[derive(Debug)]
struct Process {
    id: i32,
    /// When it was started, as the server writes it: ids come again, after a restart soon.
    since: Option<String>,
}

impl Postgres {
    pub(super) async fn open(
        options: &PgConnectOptions,
        settings: &Settings,
        canceller: Arc<Canceller>,
        counted: Counted,
    ) -> Result<Self, sqlx::Error> {
        let mut options = options.clone().disable_statement_logging();
        if let Some(limit) = settings.statement_timeout {
            // Zero would be none at all, and more than this an error.
            let limit = limit.as_millis().clamp(1, LONGEST_LIMIT);
            options = options.options([("statement_timeout", limit.to_string())]);
        }
        let mut connection = options.connect().await?;
        let row =
            sqlx::raw_sql("SELECT pid, backend_start::text FROM pg_stat_get_activity(pg_backend_pid())")
                .fetch_one(&mut connection)
                .await?;
        let process = Process { id: row.try_get(0)?, since: row.try_get(1)? };
        Ok(Self { connection, process, canceller, home: Home::here(), _counted: counted })
    }

    #[inline]
    pub(super) fn is_homeless(&self) -> bool {
        self.home.is_gone()
    }

    pub(super) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.connection.execute(sql).await?;
        Ok(())
    }

    pub(super) async fn begin(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.simple(sql).await
    }

    pub(super) async fn script(&mut self, sql: SqlStr) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    pub(super) async fn execute(&mut self, sql: SqlStr, arguments: PgArguments) -> Result<u64, sqlx::Error> {
        let done = sqlx::query_with(sql, arguments).execute(&mut self.connection).await?;
        Ok(done.rows_affected())
    }

    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.connection.ping().await
    }

    pub(super) async fn settle(&mut self, in_flight: bool, in_transaction: bool) -> bool {
        if in_flight {
            let process = self.process.id;
            if timeout(SETTLE, self.stop()).await.is_err() {
                tracing::warn!(
                    target: "logcontext::db",
                    process,
                    "a statement could not be cancelled: the server may go on with it",
                );
            }
            // A cancel request may arrive late, and then hits what runs by then: nothing will, on this connection.
            return false;
        }
        !in_transaction || matches!(timeout(SETTLE, self.connection.execute("ROLLBACK")).await, Ok(Ok(_)))
    }

    /// Ends what is running, and waits until it has ended.
    async fn stop(&mut self) {
        let mut patience = GRACE;
        while timeout(patience, until_idle(&mut self.connection)).await.is_err() {
            self.canceller.cancel(&self.process).await;
            patience = AGAIN;
        }
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Waits until the server has nothing more to do for this connection, or the connection is lost.
async fn until_idle(connection: &mut PgConnection) {
    // What the statement answers is nobody's business any more, an error neither.
    while let Err(sqlx::Error::Database(_)) = connection.ping().await {}
}

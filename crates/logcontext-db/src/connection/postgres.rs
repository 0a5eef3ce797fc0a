//! A connection to PostgreSQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Connection as _, Executor as _, Row as _, SqlStr};
use tokio::sync::Mutex;

use super::{Counted, OpenConnections};
use crate::backend::Address;
use crate::settings::Settings;

/// How long the server may take to be told to cancel a statement. After that the connection is closed without.
const CANCEL: Duration = Duration::from_secs(5);

pub(super) struct Postgres {
    connection: PgConnection,
    /// The server's process that serves it: what is told to cancel.
    process: i32,
    canceller: Arc<Canceller>,
}

impl Postgres {
    pub(super) async fn open(
        options: &PgConnectOptions,
        settings: &Settings,
        canceller: Arc<Canceller>,
    ) -> Result<Self, sqlx::Error> {
        let mut options = options.clone().disable_statement_logging();
        if let Some(limit) = settings.statement_timeout {
            // Zero would be none at all.
            options = options.options([("statement_timeout", limit.as_millis().max(1).to_string())]);
        }
        let mut connection = options.connect().await?;
        let row = sqlx::query("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let process = row.try_get(0)?;
        Ok(Self { connection, process, canceller })
    }

    pub(super) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.connection.execute(sql).await?;
        Ok(())
    }

    pub(super) async fn script(&mut self, sql: SqlStr) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    pub(super) async fn fetch_all(&mut self, sql: SqlStr, arguments: PgArguments) -> Result<Vec<PgRow>, sqlx::Error> {
        sqlx::query_with(sql, arguments).fetch_all(&mut self.connection).await
    }

    pub(super) async fn fetch_optional(
        &mut self,
        sql: SqlStr,
        arguments: PgArguments,
    ) -> Result<Option<PgRow>, sqlx::Error> {
        sqlx::query_with(sql, arguments).fetch_optional(&mut self.connection).await
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
            // A cancel request may arrive late, and then hits what runs by then: nothing will, on this connection.
            self.canceller.cancel(self.process).await;
            return false;
        }
        !in_transaction || self.connection.execute("ROLLBACK").await.is_ok()
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// A connection of its own for cancel requests: the pool's may all be busy with what is to be cancelled. Opened when
/// it is needed, and closed when it has been idle.
pub(crate) struct Canceller {
    options: Option<PgConnectOptions>,
    open: Arc<OpenConnections>,
    line: Mutex<Option<Line>>,
}

struct Line {
    connection: PgConnection,
    used: Instant,
    _counted: Counted,
}

impl Canceller {
    pub(crate) fn of(address: &Address, open: &Arc<OpenConnections>) -> Self {
        let options = match address {
            Address::Postgres(options) => Some((**options).clone().disable_statement_logging()),
            #[allow(unreachable_patterns, reason = "where both are built in")]
            _ => None,
        };
        Self { options, open: Arc::clone(open), line: Mutex::new(None) }
    }

    async fn cancel(&self, process: i32) {
        let cancelling = tokio::time::timeout(CANCEL, self.send(process)).await;
        match cancelling {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(target: "logcontext::db", %error, process, "cannot cancel a statement");
            }
            Err(_) => tracing::debug!(target: "logcontext::db", process, "cannot cancel a statement in time"),
        }
    }

    async fn send(&self, process: i32) -> Result<(), sqlx::Error> {
        let Some(options) = &self.options else { return Ok(()) };
        let mut place = self.line.lock().await;
        // Out of its place while it is used: if this is dropped half-way, or fails, so is the connection.
        let mut line = match place.take() {
            Some(line) => line,
            None => {
                let counted = self.open.count();
                Line { connection: options.connect().await?, used: Instant::now(), _counted: counted }
            }
        };
        sqlx::query("SELECT pg_cancel_backend($1)").bind(process).execute(&mut line.connection).await?;
        line.used = Instant::now();
        *place = Some(line);
        Ok(())
    }

    /// Closes the connection.
    pub(crate) async fn close(&self) {
        self.close_if_idle(Duration::ZERO).await;
    }

    /// Closes the connection if nobody has used it for so long.
    pub(crate) async fn close_if_idle(&self, limit: Duration) {
        let mut place = self.line.lock().await;
        if place.as_ref().is_some_and(|line| line.used.elapsed() >= limit)
            && let Some(line) = place.take()
        {
            let _ = tokio::time::timeout(super::GOODBYE, line.connection.close()).await;
        }
    }
}

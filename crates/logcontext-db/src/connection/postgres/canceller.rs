//! [`Canceller`]: tells the server to cancel what runs on other connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Process;
use crate::backend::Address;
use crate::connection::{Counted, GOODBYE, OpenConnections};

/// How long the server may take to answer on a connection that was open before: it may be a dead one.
const ANSWER: Duration = Duration::from_secs(1);

/// A process is told by its id and its start: never another one's statement.
const CANCEL: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_get_activity($1) \
     WHERE backend_start::text IS NOT DISTINCT FROM $2";

/// A connection of its own for cancel requests: the pool's may all be busy with what is to be cancelled. Opened when
/// it is needed, and closed when it has been idle.
pub(crate) struct Canceller {
    options: Option<PgConnectOptions>,
    open: Arc<OpenConnections>,
    closing: AtomicBool,
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
        Self { options, open: Arc::clone(open), closing: AtomicBool::new(false), line: Mutex::new(None) }
    }

    /// Tells the server to cancel what this process is running, if it still serves the same connection.
    pub(super) async fn cancel(&self, process: &Process) {
        if let Err(error) = self.send(process).await {
            tracing::debug!(target: "logcontext::db", %error, process = process.id, "cannot cancel a statement");
        }
    }

    async fn send(&self, process: &Process) -> Result<(), sqlx::Error> {
        let Some(options) = &self.options else { return Ok(()) };
        let mut place = self.line.lock().await;
        // Out of its place while it is used: if this is dropped half-way, or fails, so is the connection.
        if let Some(mut line) = place.take()
            && let Ok(Ok(())) = timeout(ANSWER, line.send(process)).await
        {
            self.put_back(&mut place, line).await;
            return Ok(());
        }
        let counted = self.open.count();
        let mut line = Line { connection: options.connect().await?, used: Instant::now(), _counted: counted };
        line.send(process).await?;
        self.put_back(&mut place, line).await;
        Ok(())
    }

    async fn put_back(&self, place: &mut Option<Line>, line: Line) {
        if self.closing.load(SeqCst) {
            line.close().await;
        } else {
            *place = Some(line);
        }
    }

    /// From now on, each connection is closed as soon as it has done its work.
    pub(crate) fn keep_no_more(&self) {
        self.closing.store(true, SeqCst);
    }

    /// Closes the connection, and keeps no other one.
    pub(crate) async fn close(&self) {
        self.keep_no_more();
        self.close_if_idle(Duration::ZERO).await;
    }

    /// Closes the connection if nobody has used it for so long.
    pub(crate) async fn close_if_idle(&self, limit: Duration) {
        let mut place = self.line.lock().await;
        if place.as_ref().is_some_and(|line| line.used.elapsed() >= limit)
            && let Some(line) = place.take()
        {
            line.close().await;
        }
    }
}

impl Line {
    async fn send(&mut self, process: &Process) -> Result<(), sqlx::Error> {
        sqlx::query(CANCEL).bind(process.id).bind(&process.since).execute(&mut self.connection).await?;
        self.used = Instant::now();
        Ok(())
    }

    async fn close(self) {
        let Self { connection, used: _, _counted } = self;
        let _ = timeout(GOODBYE, connection.close()).await;
    }
}

//! A connection to SQLite. The driver runs its statements on a thread of its own; we know that thread, charge its
//! CPU to whoever asked for the statement, and can interrupt it.

mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use logcontext::{LogContext, current_context};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, SqlStr};

use super::{Counted, OpenConnections, Role};
use crate::Backend;
use crate::error::Class;
use crate::row::learn_null;
use crate::settings::Settings;
use thread::Thread;

/// The only code of ours that SQLite's thread runs by itself is a collation: comparing by this one tells us the
/// thread. And a `NULL` as the driver has it: see `row`.
const REGISTER: &str = "logcontext_register";
const CALL_REGISTER: &str = "SELECT 'a' < 'b' COLLATE logcontext_register, NULL";

/// How many of its instructions SQLite executes between two looks at whether it is to stop: some tens of
/// microseconds.
const INSTRUCTIONS: i32 = 1_000;

/// What SQLite can be told at most: its milliseconds are an `int`.
const LONGEST_BUSY_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Between two tries to open a file that somebody else has just made: from this on, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Sqlite {
    /// Dropped first: then it is known who closes the connection.
    thread: Thread,
    connection: SqliteConnection,
    stop: Arc<Stop>,
    /// Set by SQLite when a transaction is rolled back, whoever does that.
    rolled_back: Arc<AtomicBool>,
    /// Whether it may only read, as far as that is known.
    only_reads: Option<bool>,
    statement_timeout: Option<Duration>,
    open: Arc<OpenConnections>,
}

impl Sqlite {
    pub(super) async fn open(
        options: &SqliteConnectOptions,
        role: Role,
        settings: &Settings,
        counted: Counted,
    ) -> Result<Self, sqlx::Error> {
        let open = counted.all();
        // If this fails half-way, its end is paid by whoever has asked for it as well.
        let thread = Thread::default();
        let inside = thread.inside(counted);
        let mut options = options
            .clone()
            .foreign_keys(true)
            .busy_timeout(settings.busy_timeout.min(LONGEST_BUSY_TIMEOUT))
            .collation(REGISTER, move |a, b| {
                // Goes when SQLite has closed the files, and lets go of its collations.
                inside.register();
                a.cmp(b)
            })
            .thread_name(|n| format!("sqlite-{n}"))
            .disable_statement_logging();
        options = match role {
            // Durable at checkpoints: a crash of the machine may lose the last commits, and corrupts nothing.
            Role::Any => options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal),
            Role::Reader => options.pragma("query_only", "ON"),
        };
        let mut connection = connect(&options, settings.busy_timeout).await?;
        learn_null(&sqlx::query(CALL_REGISTER).fetch_one(&mut connection).await?, 1)?;
        let stop = Arc::new(Stop::new());
        let rolled_back = Arc::new(AtomicBool::new(false));
        let (looked_at, to_set) = (Arc::clone(&stop), Arc::clone(&rolled_back));
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(INSTRUCTIONS, move || !looked_at.now());
        handle.set_rollback_hook(move || to_set.store(true, Relaxed));
        drop(handle);
        let only_reads = Some(role == Role::Reader);
        Ok(Self {
            thread,
            connection,
            stop,
            rolled_back,
            only_reads,
            statement_timeout: settings.statement_timeout,
            open,
        })
    }

    pub(super) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        // Prepared once, and no statement that could take long.
        sqlx::query(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    pub(super) async fn begin(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.rolled_back.store(false, Relaxed);
        self.simple(sql).await
    }

    /// Whether it was, since the last `begin`. Only good for something while no statement runs.
    pub(super) fn has_rolled_back(&self) -> bool {
        self.rolled_back.load(Relaxed)
    }

    pub(super) fn is_told(&self, only_reads: bool) -> bool {
        self.only_reads == Some(only_reads)
    }

    /// Whoever uses it next says what they want: so nothing has to be put back.
    pub(super) async fn only_reads(&mut self, only_reads: bool) -> Result<(), sqlx::Error> {
        // Nobody knows, if this is dropped half-way.
        self.only_reads = None;
        self.simple(if only_reads { "PRAGMA query_only = ON" } else { "PRAGMA query_only = OFF" }).await?;
        self.only_reads = Some(only_reads);
        Ok(())
    }

    pub(super) async fn script(&mut self, sql: SqlStr) -> Result<(), sqlx::Error> {
        let _limit = self.limit();
        sqlx::raw_sql(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    /// The statement that follows is to stop in time, until the answer is dropped.
    pub(super) fn limit(&self) -> Option<Limit> {
        self.stop.after(self.statement_timeout)
    }

    pub(super) async fn execute(
        &mut self,
        sql: SqlStr,
        arguments: SqliteArguments,
    ) -> Result<u64, sqlx::Error> {
        let _limit = self.limit();
        let done = sqlx::query_with(sql, arguments).execute(&mut self.connection).await?;
        Ok(done.rows_affected())
    }

    /// There is no server that could be gone.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }

    pub(super) fn interrupt(&self) {
        self.stop.ask();
    }

    pub(super) async fn settle(&mut self, in_flight: bool, in_transaction: bool) -> bool {
        if in_flight {
            self.stop.ask();
            // Commands are executed in order: once this is answered, nothing before it runs any more.
            let answered = self.connection.ping().await;
            self.stop.take_back();
            if answered.is_err() {
                return false;
            }
        }
        if !in_transaction && !in_flight {
            return true;
        }
        match sqlx::query("ROLLBACK").execute(&mut self.connection).await {
            Ok(_) => true,
            // An interrupted statement may have taken its transaction with it, and a plain one had none.
            Err(sqlx::Error::Database(error)) => error.message().contains("no transaction is active"),
            Err(_) => false,
        }
    }

    pub(super) fn charge(&self, context: &LogContext) {
        self.thread.charge(context);
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        // For the case that something runs that nobody waits for.
        self.stop.ask();
        self.thread.ends_for(&current_context());
        // Of two that close at the same moment, neither is the last one, and the log stays beside the file.
        let _alone = self.open.closing.lock().await;
        self.connection.close().await
    }

    /// Closes it where no runtime is left that could wait for that, and for the others: on a thread of its own.
    pub(super) fn cut(self) {
        self.thread.ends_for(&current_context());
        let close = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            // Without one it is dropped, and closes all the same.
            runtime.map(|runtime| runtime.block_on(self.close()))
        };
        let closing = std::thread::Builder::new().name("sqlite-close".into());
        #[expect(clippy::disallowed_methods, reason = "it is said above who pays")]
        drop(closing.spawn(close));
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// Opens the file. Where another process is just making it a write-ahead one, SQLite does not wait, but fails.
async fn connect(
    options: &SqliteConnectOptions,
    busy_timeout: Duration,
) -> Result<SqliteConnection, sqlx::Error> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match options.connect().await {
            Err(error)
                if Class::of(&error, Backend::Sqlite) == Class::Conflict
                    && start.elapsed() < busy_timeout =>
            {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}

/// Whether the statement that runs is to stop. Looked at by SQLite's thread.
struct Stop {
    asked: AtomicBool,
    /// In nanoseconds since `start`; 0 where there is no limit.
    deadline: AtomicU64,
    start: Instant,
}

impl Stop {
    fn new() -> Self {
        Self { asked: AtomicBool::new(false), deadline: AtomicU64::new(0), start: Instant::now() }
    }

    fn ask(&self) {
        self.asked.store(true, Relaxed);
    }

    fn take_back(&self) {
        self.asked.store(false, Relaxed);
    }

    /// The statement that follows is to stop after so long, until the answer is dropped.
    fn after(self: &Arc<Self>, limit: Option<Duration>) -> Option<Limit> {
        // First: most have none, and need not know the time.
        let limit = limit?;
        let deadline = self.start.elapsed().saturating_add(limit);
        self.deadline.store(u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        Some(Limit(Arc::clone(self)))
    }

    fn now(&self) -> bool {
        if self.asked.load(Relaxed) {
            return true;
        }
        let deadline = self.deadline.load(Relaxed);
        deadline != 0 && self.start.elapsed().as_nanos() >= u128::from(deadline)
    }
}

/// Nobody looks at the time any more when this is dropped.
pub(crate) struct Limit(Arc<Stop>);

impl Drop for Limit {
    fn drop(&mut self) {
        self.0.deadline.store(0, Relaxed);
    }
}

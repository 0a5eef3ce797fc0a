//! A database of a test's own, and what it tells itself, past the service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logcontext_db::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use logcontext_db::sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use logcontext_service::ListenerSettings;
use logcontext_testservers::Postgres;
use presence::server::Presence;
use tempfile::TempDir;

pub(crate) type Settings = logcontext_service::Settings<Presence>;

/// A database of a test's own, empty, gone with it.
pub(crate) struct Own {
    pub(crate) url: String,
    /// Of SQLite.
    folder: Option<TempDir>,
}

impl Own {
    /// In a file.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("presence.db").display());
        Self { url, folder: Some(folder) }
    }

    /// On the server of this test run.
    pub(crate) fn postgres() -> Self {
        let server = Postgres::shared().unwrap_or_else(|missing| panic!("{missing}"));
        Self { url: server.fresh_database(), folder: None }
    }

    /// Of a service on a free port, and with little patience.
    pub(crate) fn settings(&self) -> Settings {
        settings_of(&self.url)
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.folder.is_some()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.as_ref().expect("SQLite").path().join("presence.db")
    }

    /// Runs statements on a connection of its own.
    pub(crate) fn sql(&self, sql: &str) {
        if self.is_sqlite() {
            let sql = AssertSqlSafe(sql.to_owned());
            let run = async move |mut connection: SqliteConnection| {
                raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            };
            on_connection(self.options(), run);
        } else {
            Postgres::shared().unwrap().psql(self.name(), sql);
        }
    }

    /// Makes the database run another statement after each such event, as in `INSERT ON history`.
    pub(crate) fn after(&self, event: &str, then: &str) {
        self.sql(&if self.is_sqlite() {
            format!("CREATE TRIGGER test AFTER {event} BEGIN {then}; END")
        } else {
            format!(
                "CREATE FUNCTION test() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {then}; RETURN NULL; END $$;
                 CREATE TRIGGER test AFTER {event} FOR EACH ROW EXECUTE FUNCTION test()"
            )
        });
    }

    /// One number.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        if self.is_sqlite() {
            let sql = AssertSqlSafe(sql.to_owned());
            let run = async move |mut connection: SqliteConnection| {
                let number = logcontext_db::sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                number
            };
            on_connection(self.options(), run)
        } else {
            Postgres::shared().unwrap().psql(self.name(), sql).trim().parse().unwrap()
        }
    }

    /// Keeps everybody else from writing, until it is dropped.
    pub(crate) fn keep_from_writing(&self) -> impl Drop + use<> {
        let (locked, is_locked) = channel();
        let (unlock, unlocked) = channel::<()>();
        let options = self.options();
        #[expect(clippy::disallowed_methods, reason = "is no part of the service")]
        let thread = std::thread::spawn(move || {
            on_connection(options, async move |mut connection: SqliteConnection| {
                raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
                locked.send(()).unwrap();
                let _ = unlocked.recv();
                connection.close().await.unwrap();
            });
        });
        is_locked.recv().unwrap();
        Locked { unlock: Some(unlock), thread: Some(thread) }
    }

    /// Fails if anybody still has a connection to it.
    pub(crate) fn assert_nobody_is_connected(&self) {
        if self.is_sqlite() {
            // Which nobody gets while others have the file open.
            let options = self.options().busy_timeout(Duration::ZERO);
            on_connection(options, async |mut connection: SqliteConnection| {
                let lock = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; ROLLBACK";
                raw_sql(lock).execute(&mut connection).await.expect("an exclusive lock");
                connection.close().await.unwrap();
            });
            return;
        }
        // The server's processes are gone a moment after the connection.
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", self.name());
        let start = Instant::now();
        loop {
            let connected = Postgres::shared().unwrap().psql("postgres", &sql);
            if connected.trim() == "0" {
                return;
            }
            assert!(start.elapsed() < super::PATIENCE, "{connected} connections are open");
            std::thread::yield_now();
        }
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    fn options(&self) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new().filename(self.file()).create_if_missing(true);
        options.foreign_keys(true).disable_statement_logging()
    }
}

struct Locked {
    unlock: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.unlock.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Of a service on a free port, and with little patience.
pub(crate) fn settings_of(database: &str) -> Settings {
    let mut settings = Settings::default();
    settings.service.listeners = vec![ListenerSettings::new(SocketAddr::from(([127, 0, 0, 1], 0)).into())];
    settings.service.shutdown.deadline = Duration::from_secs(10).into();
    settings.database.url = database.to_owned().into();
    settings
}

/// On a thread and a runtime of its own, as another process would be: the caller may be in a runtime.
fn on_connection<T: Send + 'static>(
    options: SqliteConnectOptions,
    run: impl AsyncFnOnce(SqliteConnection) -> T + Send + 'static,
) -> T {
    #[expect(clippy::disallowed_methods, reason = "is no part of the service")]
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { run(options.connect().await.unwrap()).await })
    });
    thread.join().unwrap()
}

/// Tests that hold on both databases: `sqlite::name`, and `postgres::name`, which needs a server.
///
/// ```text
/// on_both_databases! {
///     fn a_presence_is_set(own: Own) { .. }
/// }
/// ```
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* fn $name:ident($own:ident: Own) $body:block)*) => {
        mod sqlite {
            use super::*;
            $(#[test] $(#[$attribute])* fn $name() {
                let $own = common::Own::sqlite();
                $body
            })*
        }
        mod postgres {
            use super::*;
            $(#[test] #[ignore = "needs PostgreSQL: cargo xtask test"] $(#[$attribute])* fn $name() {
                let $own = common::Own::postgres();
                $body
            })*
        }
    };
}
pub(crate) use on_both_databases;

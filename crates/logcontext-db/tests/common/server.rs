//! Who is connected, as the database itself sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use logcontext::spawn_blocking;
use logcontext_db::Backend;
use logcontext_db::sqlx::{self, Connection as _, SqliteConnection};
use logcontext_testservers::Postgres;

use super::{DEADLINE, Own};

impl Own {
    /// The name of the database on its server.
    pub(crate) fn database(&self) -> &str {
        self.url.rsplit('/').next().expect("a url")
    }

    /// Calls the server of this database, where that may block.
    pub(crate) async fn server<T>(&self, call: impl FnOnce(&Postgres, &str) -> T + Send + 'static) -> T
    where
        T: Send + 'static,
    {
        let (own, database) = (self.server.clone(), self.database().to_owned());
        let called = spawn_blocking(move || {
            vec![match &own {
                Some(server) => call(server, &database),
                None => call(Postgres::shared().expect("it is running"), &database),
            }]
        });
        called.await.expect("neither panicked nor aborted").pop().expect("one result")
    }

    /// What psql answers, connected to another database: so it does not see itself.
    pub(crate) async fn psql(&self, sql: impl Into<String>) -> String {
        let sql = sql.into();
        self.server(move |server, _| server.psql("postgres", &sql)).await
    }

    /// How many sessions the server has for this database where this holds (`true` for all); of SQLite, how often
    /// this process has one of its files open.
    pub(crate) async fn sessions(&self, condition: &str) -> usize {
        if self.backend == Backend::Sqlite {
            return open_files(&self.path());
        }
        let database = self.database();
        let sql =
            format!("select count(*) from pg_stat_activity where datname = '{database}' and {condition}");
        self.psql(sql).await.parse().expect("a number")
    }

    /// Waits until there are so many.
    pub(crate) async fn until_sessions(&self, condition: &str, expected: usize) {
        let start = Instant::now();
        loop {
            let found = self.sessions(condition).await;
            if found == expected {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{found} sessions instead of {expected} where {condition}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Ends the sessions of this database where this holds, and waits until they are gone.
    pub(crate) async fn kill(&self, condition: &str) {
        let all = format!("datname = '{}' and {condition}", self.database());
        self.psql(format!("select pg_terminate_backend(pid) from pg_stat_activity where {all}")).await;
        self.until_sessions(condition, 0).await;
    }

    /// Freezes the sessions of this database that are there (`STOP`), or wakes them up (`CONT`); new ones answer.
    pub(crate) async fn signal_sessions(&self, signal: &str) {
        assert!(self.server.is_some(), "only a server of our own is on this machine for sure");
        let sql = format!("select pid from pg_stat_activity where datname = '{}'", self.database());
        let processes = self.psql(sql).await;
        let mut kill = Command::new("/bin/sh");
        kill.args(["-c", "kill -s \"$@\"", "sh", signal]).args(processes.split_whitespace());
        assert!(kill.status().expect("a shell").success());
    }

    /// Nobody has it open any more. SQLite's is free at once; PostgreSQL's is in a moment.
    pub(crate) async fn is_free(&self) {
        if self.backend == Backend::Sqlite {
            self.is_free_for_one().await;
        } else {
            self.until_sessions("true", 0).await;
        }
    }

    async fn is_free_for_one(&self) {
        let path = self.path();
        assert_eq!(open_files(&path), 0, "open files");
        if !path.exists() {
            return;
        }
        assert!(!beside(&path, "-wal").exists(), "the last who closes it takes the log along");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        let exclusive = "PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT";
        sqlx::raw_sql(exclusive).execute(&mut other).await.expect("nobody else has a lock");
        other.close().await.unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.as_ref().expect("of SQLite's").path().join("test.db")
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// How many of this process's open files are this one, or begin like it.
fn open_files(path: &Path) -> usize {
    let path = path.to_str().expect("a name of ours");
    let files = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    files
        .filter(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.to_string_lossy().starts_with(path))
        })
        .count()
}

//! PostgreSQL.

mod cluster;
mod install;
mod psql;
mod settings;
mod url;

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::Unavailable;
use crate::controls::controls;
use crate::port::random;
use cluster::Cluster;
use install::Install;

/// A PostgreSQL server. It ends when this is dropped, or when this process is gone for whatever reason, and takes
/// its data with it.
///
/// It forgets in a power cut what it has committed (`fsync=off`), and is fast in return.
///
/// ```no_run
/// use logcontext_testservers::{Postgres, Stop};
///
/// let postgres = Postgres::start().unwrap();
/// let url = postgres.fresh_database();
/// assert!(url.starts_with("postgres://postgres@127.0.0.1:"));
///
/// postgres.stop(Stop::Immediate);
/// postgres.start_again();
/// assert_eq!(postgres.psql("postgres", "select 1 + 1"), "2");
/// ```
#[derive(Debug)]
pub struct Postgres {
    /// Of the database `postgres`
    url: String,
    psql: PathBuf,
    /// `None` where others have started it
    cluster: Option<Cluster>,
    /// Then nobody may stop it.
    is_shared: bool,
}

controls!(Postgres, cluster: Cluster);

impl Postgres {
    /// The environment variable that names the server of a test run, by a `postgres://` URL with the right to
    /// create databases.
    pub const VARIABLE: &str = "LOGCONTEXT_TEST_POSTGRES";

    /// The environment variable that names the folder with the programs, where it is not to be searched for.
    pub const PROGRAMS: &str = "LOGCONTEXT_TEST_POSTGRES_PROGRAMS";

    /// The Debian package that brings the programs.
    pub const PACKAGE: &str = "postgresql";

    /// Starts one for whoever calls this alone, which takes a second or two.
    ///
    /// # Errors
    ///
    /// Where PostgreSQL is not installed, or does not start.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with settings as in `postgresql.conf`, such as `("max_connections", "5")`.
    ///
    /// # Errors
    ///
    /// Where PostgreSQL is not installed, or does not start with these settings.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, Unavailable> {
        let install = Install::find()?;
        let psql = install.psql();
        let cluster = Cluster::start(install, settings)?;
        Ok(Self { url: cluster.url(), psql, cluster: Some(cluster), is_shared: false })
    }

    /// The server of this test run: the one that [`VARIABLE`](Self::VARIABLE) names, or else one of this process,
    /// which the first call starts. Nobody can stop or pause it.
    ///
    /// # Errors
    ///
    /// Where the server that the variable names does not answer. Where there is none, as for
    /// [`start`](Self::start).
    pub fn shared() -> Result<&'static Self, Unavailable> {
        static SHARED: OnceLock<Result<Postgres, Unavailable>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match env::var(Self::VARIABLE) {
            Ok(url) if !url.is_empty() => Self::connect(url),
            _ => Self::start().map(|postgres| Self { is_shared: true, ..postgres }),
        });
        shared.as_ref().map_err(Unavailable::clone)
    }

    /// Are the programs there that [`start`](Self::start) needs?
    ///
    /// # Errors
    ///
    /// Where they are not: what is missing, and how to install it.
    pub fn find() -> Result<(), Unavailable> {
        Install::find().map(drop)
    }

    fn connect(url: String) -> Result<Self, Unavailable> {
        let psql = install::find_psql()?;
        match psql::run(&psql, &url, "select 1") {
            Ok(_) => Ok(Self { url, psql, cluster: None, is_shared: true }),
            Err(error) => Err(Unavailable::new(format!(
                "the PostgreSQL server that {} names does not answer: {error}",
                Self::VARIABLE
            ))),
        }
    }

    /// The URL of a database, as in `postgres://user@127.0.0.1:port/database`. The database `postgres` always
    /// exists.
    pub fn url(&self, database: &str) -> String {
        url::with_database(&self.url, database)
    }

    /// Creates an empty database with a name of its own, and returns its URL. It goes away with the server.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn fresh_database(&self) -> String {
        let name = format!("test_{:016x}", random());
        // Nobody can be connected to template0, which would keep it from being copied.
        self.run(&self.url, &format!("create database {name} template template0"));
        self.url(&name)
    }

    /// Runs statements with psql and returns its output: one line per row, columns separated by `|`. This is the
    /// server's own view, to check what a client says. It takes a connection for its own, to be left out of what is
    /// counted in `pg_stat_activity`: `where pid <> pg_backend_pid()`.
    ///
    /// # Panics
    ///
    /// If a statement fails, or the server does not answer.
    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.run(&self.url(database), sql)
    }

    #[track_caller]
    fn run(&self, url: &str, sql: &str) -> String {
        match psql::run(&self.psql, url, sql) {
            Ok(output) => output,
            Err(error) => panic!("{error}\nin: {sql}"),
        }
    }
}

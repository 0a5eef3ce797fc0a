//! [`Migration`]: the steps that a schema has taken.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migration as Step, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::pool::Held;
use crate::{Backend, Error};

/// One step of a schema. Steps are applied in the order of their versions, each once, and recorded in the table
/// `_sqlx_migrations`, as sqlx's own tool does. A step that was applied must not change any more.
///
/// All steps that are missing are applied in one transaction: if one fails, none of them has happened, and what ran
/// before still runs. So they cannot contain what PostgreSQL does not do in a transaction: `CREATE INDEX
/// CONCURRENTLY`, `VACUUM`, or using a value that the same transaction has added to an enum. Where several processes
/// open the database at once, one applies the steps, and the others wait for it.
///
/// ```
/// use logcontext_db::Migration;
///
/// let steps = [
///     Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY)"),
///     // where the databases differ
///     Migration::new(2, "seen", "CREATE TABLE seen (id INTEGER PRIMARY KEY, at BIGINT NOT NULL)")
///         .postgres("CREATE TABLE seen (id BIGSERIAL PRIMARY KEY, at BIGINT NOT NULL)"),
/// ];
/// assert_eq!(steps[1].version(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Migration {
    version: i64,
    name: Cow<'static, str>,
    sql: Cow<'static, str>,
    sqlite: Option<Cow<'static, str>>,
    postgres: Option<Cow<'static, str>>,
}

impl Migration {
    /// A step that is the same on both databases: any number of statements, separated by semicolons.
    pub fn new(version: i64, name: impl Into<Cow<'static, str>>, sql: impl Into<Cow<'static, str>>) -> Self {
        Self { version, name: name.into(), sql: sql.into(), sqlite: None, postgres: None }
    }

    /// What it is on SQLite instead.
    #[must_use]
    pub fn sqlite(mut self, sql: impl Into<Cow<'static, str>>) -> Self {
        self.sqlite = Some(sql.into());
        self
    }

    /// What it is on PostgreSQL instead.
    #[must_use]
    pub fn postgres(mut self, sql: impl Into<Cow<'static, str>>) -> Self {
        self.postgres = Some(sql.into());
        self
    }

    /// Its version.
    pub fn version(&self) -> i64 {
        self.version
    }

    fn step(self, backend: Backend) -> Step {
        let own = match backend {
            Backend::Sqlite => self.sqlite,
            Backend::Postgres => self.postgres,
        };
        // The service's own text, as much as a literal in it would be.
        let sql = AssertSqlSafe(own.unwrap_or(self.sql)).into_sql_str();
        Step::new(self.version, self.name, MigrationType::Simple, sql, false)
    }
}

/// Known to all who open a database with this library, and hopefully to nobody else.
#[cfg(feature = "postgres")]
const LOCK: i64 = 0x6c6f_6763_7478_6462;

/// Applies those that are missing, all of them or none.
pub(crate) async fn apply(held: &mut Held, database: &Arc<str>, steps: Vec<Migration>) -> Result<(), Error> {
    let backend = held.backend();
    let failed = |error| failed(database, error);
    let steps = steps.into_iter().map(|step| step.step(backend)).collect::<Vec<_>>();
    if let Some(twice) = twice(&steps) {
        let what = format!("version {twice} is there twice");
        return Err(Error::Migration { database: Arc::clone(database), what, source: None });
    }
    let migrator = Migrator::with_migrations(steps);
    let result = run(&migrator, held).await;
    // What was begun is ended by then, either way: a failure may have left the transaction open.
    held.in_transaction(result.is_err());
    held.done(&Ok::<(), sqlx::Error>(()));
    result.map_err(failed)
}

async fn run(migrator: &Migrator, held: &mut Held) -> Result<(), MigrateError> {
    let backend = held.backend();
    #[cfg(feature = "sqlite")]
    if backend == Backend::Sqlite
        && let Some(connection) = held.connection().sqlite()
    {
        // sqlx does not lock SQLite for a migration: two processes would both apply what is missing.
        use sqlx::Connection as _;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        migrator.run_direct(None, &mut *transaction, false).await?;
        transaction.commit().await?;
    }
    #[cfg(feature = "postgres")]
    if backend == Backend::Postgres
        && let Some(connection) = held.connection().postgres()
    {
        use sqlx::Connection as _;
        let mut transaction = connection.begin().await?;
        // sqlx gives its own lock back before the commit: whoever came then would see nothing of this yet.
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
        migrator.run_direct(None, &mut *transaction, false).await?;
        transaction.commit().await?;
    }
    let _ = (backend, migrator);
    Ok(())
}

fn twice(steps: &[Step]) -> Option<i64> {
    let mut versions: Vec<_> = steps.iter().map(|step| step.version).collect();
    versions.sort_unstable();
    versions.windows(2).find(|two| two[0] == two[1]).map(|two| two[0])
}

fn failed(database: &Arc<str>, error: MigrateError) -> Error {
    let (what, source): (String, Option<Box<dyn std::error::Error + Send + Sync>>) = match error {
        MigrateError::ExecuteMigration(error, version) => {
            (format!("version {version}"), Some(Box::new(error)))
        }
        MigrateError::VersionMismatch(version) => {
            (format!("version {version} was changed after it had been applied"), None)
        }
        MigrateError::VersionMissing(version) => {
            (format!("version {version} was applied, but is not known here: the database is newer"), None)
        }
        MigrateError::Execute(error) => ("cannot record them".to_owned(), Some(Box::new(error))),
        error => (error.to_string(), None),
    };
    Error::Migration { database: Arc::clone(database), what, source }
}

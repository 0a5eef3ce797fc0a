//! SQLite, in files of a temporary folder.

use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use logcontext::{FutureExt, LogContext};
use logcontext_db::{Database, sqlx};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::sides::{fill, measure};
use super::{CALLS, Found, INSERT, SELECT, TABLE, UPDATE, USERS, runtimes};
use crate::Effort;

pub(super) fn measure(effort: Effort) -> anyhow::Result<Found> {
    let folder = tempfile::tempdir()?;
    let url = |name: &str| format!("sqlite:{}?mode=rwc", folder.path().join(name).display());
    let runtimes = runtimes()?;
    let mut bare = runtimes[0].block_on(async {
        let mut connection = options(&url("bare"))?.connect().await?;
        fill!(&mut connection)?;
        Ok::<_, sqlx::Error>(connection)
    })?;
    let ours = runtimes[1].block_on(async {
        let mut to_fill = options(&url("ours"))?.connect().await?;
        fill!(&mut to_fill)?;
        to_fill.close().await?;
        anyhow::Ok(Database::open(url("ours")).await?)
    })?;
    let pool = runtimes[2].block_on(async {
        let pool = SqlitePoolOptions::new().connect_with(options(&url("pool"))?).await?;
        fill!(&mut *pool.acquire().await?)?;
        Ok::<_, sqlx::Error>(pool)
    })?;
    let found = measure!(&runtimes, effort.of(1_200), "BEGIN IMMEDIATE", bare, ours, pool);
    runtimes[0].block_on(bare.close())?;
    runtimes[1].block_on(ours.close(Duration::from_secs(5)));
    runtimes[2].block_on(pool.close());
    Ok(found)
}

/// As ours are.
fn options(url: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
    Ok(SqliteConnectOptions::from_str(url)?
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .disable_statement_logging())
}

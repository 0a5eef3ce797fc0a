//! PostgreSQL, over a loopback connection.

use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use logcontext::{FutureExt, LogContext};
use logcontext_db::{Database, sqlx};
use logcontext_testservers::Postgres;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use super::sides::{fill, measure};
use super::{CALLS, Found, INSERT, SELECT, TABLE, UPDATE, USERS, runtimes};
use crate::Effort;
use crate::cpu::shares_that_processor;

pub(super) fn measure(server: &Postgres, effort: Effort) -> anyhow::Result<(Found, &'static str)> {
    let [bare, ours, pool] = [(); 3].map(|()| server.fresh_database());
    let names = [&bare, &ours, &pool].map(|url| name(url).to_owned());
    let options = |url: &str| PgConnectOptions::from_str(url).map(ConnectOptions::disable_statement_logging);
    let runtimes = runtimes()?;
    let mut bare = runtimes[0].block_on(async {
        let mut connection = options(&bare)?.connect().await?;
        fill!(&mut connection)?;
        Ok::<_, sqlx::Error>(connection)
    })?;
    let ours = runtimes[1].block_on(async {
        let mut to_fill = options(&ours)?.connect().await?;
        fill!(&mut to_fill)?;
        to_fill.close().await?;
        anyhow::Ok(Database::open(ours).await?)
    })?;
    let pool = runtimes[2].block_on(async {
        let pool = PgPoolOptions::new().connect_with(options(&pool)?).await?;
        fill!(&mut *pool.acquire().await?)?;
        Ok::<_, sqlx::Error>(pool)
    })?;
    let same_processor = runtimes[0].block_on(share_our_processor(&mut bare, &names))?;
    let found = measure!(&runtimes, effort.of(800), "BEGIN", bare, ours, pool);
    runtimes[0].block_on(bare.close())?;
    runtimes[1].block_on(ours.close(Duration::from_secs(5)));
    runtimes[2].block_on(pool.close());
    Ok((found, if same_processor { "the client's" } else { "any" }))
}

/// The name of the database that a URL is for.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default().split('?').next().unwrap_or_default()
}

/// Has the server's processes for these databases run where we do, all of them: waking one that is elsewhere costs us
/// twice as much, and each side has a process of its own. Answers whether that can be had: if the server is ours.
async fn share_our_processor(
    connection: &mut sqlx::PgConnection,
    databases: &[String],
) -> sqlx::Result<bool> {
    let query = "SELECT pid FROM pg_stat_activity WHERE datname = ANY($1)";
    let processes: Vec<i32> = sqlx::query_scalar(query).bind(databases).fetch_all(connection).await?;
    // All of them are moved, also after one that could not be.
    let shared: Vec<bool> = processes.into_iter().map(shares_that_processor).collect();
    Ok(shared.into_iter().all(|one| one))
}

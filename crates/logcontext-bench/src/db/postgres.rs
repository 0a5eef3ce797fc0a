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

pub(super) fn measure(server: &Postgres, effort: Effort) -> anyhow::Result<Found> {
    let [bare, ours, pool] = [(); 3].map(|()| server.fresh_database());
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
    let found = measure!(&runtimes, effort.of(800), "BEGIN", bare, ours, pool);
    runtimes[0].block_on(bare.close())?;
    runtimes[1].block_on(ours.close(Duration::from_secs(5)));
    runtimes[2].block_on(pool.close());
    Ok(found)
}

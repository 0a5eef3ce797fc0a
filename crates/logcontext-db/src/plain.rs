//! Statements that are a transaction of their own.

use std::panic::Location;

use logcontext::LogContext;
use sqlx::SqlStr;

use crate::database::payer;
use crate::error::ours;
use crate::interaction::{Outcome, Tally};
use crate::pool::{Held, Pool};
use crate::value::Arguments;
use crate::{Backend, DB_ROWS_FETCHED, Database, Error, Parameters, Row};

pub(crate) async fn query(
    database: &Database,
    name: &'static str,
    sql: SqlStr,
    parameters: impl Parameters,
    origin: &'static Location<'static>,
) -> Result<Vec<Row>, Error> {
    let arguments = arguments(database, parameters)?;
    let mut plain = Plain::new(database, name, origin);
    let mut held = plain.acquire(database.pool(true)).await?;
    let again = plain.spare(&held, &arguments);
    let mut result = fetch_all(&mut held, sql.clone(), arguments).await;
    if let (true, Some(arguments)) = (held.is_broken(), again) {
        held = plain.acquire_another(held, database.pool(true)).await?;
        result = fetch_all(&mut held, sql, arguments).await;
    }
    let rows = plain.end(held, result)?;
    plain.context.add(&DB_ROWS_FETCHED, rows.len() as u64);
    Ok(rows)
}

async fn fetch_all(held: &mut Held, sql: SqlStr, arguments: Arguments) -> Result<Vec<Row>, sqlx::Error> {
    held.only_reads(true).await?;
    let result = held.connection().fetch_all(sql, arguments).await;
    held.done(&result);
    result
}

pub(crate) async fn query_optional(
    database: &Database,
    name: &'static str,
    sql: SqlStr,
    parameters: impl Parameters,
    origin: &'static Location<'static>,
) -> Result<Option<Row>, Error> {
    let arguments = arguments(database, parameters)?;
    let mut plain = Plain::new(database, name, origin);
    let mut held = plain.acquire(database.pool(true)).await?;
    let again = plain.spare(&held, &arguments);
    let mut result = fetch_optional(&mut held, sql.clone(), arguments).await;
    if let (true, Some(arguments)) = (held.is_broken(), again) {
        held = plain.acquire_another(held, database.pool(true)).await?;
        result = fetch_optional(&mut held, sql, arguments).await;
    }
    let row = plain.end(held, result)?;
    if row.is_some() {
        plain.context.add(&DB_ROWS_FETCHED, 1);
    }
    Ok(row)
}

async fn fetch_optional(
    held: &mut Held,
    sql: SqlStr,
    arguments: Arguments,
) -> Result<Option<Row>, sqlx::Error> {
    held.only_reads(true).await?;
    let result = held.connection().fetch_optional(sql, arguments).await;
    held.done(&result);
    result
}

pub(crate) async fn execute(
    database: &Database,
    name: &'static str,
    sql: SqlStr,
    parameters: impl Parameters,
    origin: &'static Location<'static>,
) -> Result<u64, Error> {
    let arguments = arguments(database, parameters)?;
    let mut plain = Plain::new(database, name, origin);
    let mut held = plain.acquire(database.pool(false)).await?;
    // Nobody could tell, afterwards, whether a connection was lost before the statement or with it.
    while !held.is_new() && !held.is_alive().await {
        held = plain.acquire_another(held, database.pool(false)).await?;
    }
    let result = change(&mut held, sql, arguments).await;
    plain.end(held, result)
}

async fn change(held: &mut Held, sql: SqlStr, arguments: Arguments) -> Result<u64, sqlx::Error> {
    held.only_reads(false).await?;
    let result = held.connection().execute(sql, arguments).await;
    held.done(&result);
    result
}

fn arguments(database: &Database, parameters: impl Parameters) -> Result<Arguments, Error> {
    Arguments::of(database.backend(), parameters).map_err(Error::Database)
}

/// One statement, from getting a connection to giving it back.
struct Plain {
    context: LogContext,
    tally: Option<Tally>,
}

impl Plain {
    fn new(database: &Database, name: &'static str, origin: &'static Location<'static>) -> Self {
        let context = payer(name, origin);
        let tally = Some(database.tally(name, &context));
        Self { context, tally }
    }

    async fn acquire(&mut self, pool: &std::sync::Arc<Pool>) -> Result<Held, Error> {
        let name = self.tally.as_ref().map_or("", Tally::name);
        let held = pool.acquire(&self.context, name).await?;
        if let Some(tally) = &mut self.tally {
            tally.begins();
        }
        Ok(held)
    }

    /// Instead of one that turned out to be dead: as if that had not been there.
    async fn acquire_another(&mut self, dead: Held, pool: &std::sync::Arc<Pool>) -> Result<Held, Error> {
        if let Some(tally) = &mut self.tally {
            tally.forgets();
        }
        // Its place is needed for the next one.
        dead.settle().await;
        self.acquire(pool).await
    }

    /// The arguments once more, where the connection may turn out to have died while it was idle.
    fn spare(&self, held: &Held, arguments: &Arguments) -> Option<Arguments> {
        (held.backend() == Backend::Postgres && !held.is_new()).then(|| arguments.clone())
    }

    fn end<T>(&mut self, held: Held, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        let (backend, pool) = (held.backend(), std::sync::Arc::clone(held.pool()));
        held.release();
        if let Some(tally) = self.tally.take() {
            tally.conclude(if result.is_ok() { Outcome::Committed } else { Outcome::Failed });
        }
        result.map_err(|error| ours(error, backend, &pool.settings))
    }
}

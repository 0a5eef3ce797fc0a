//! Statements that are a transaction of their own.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use sqlx::SqlStr;

use crate::database::payer;
use crate::error::ours;
use crate::interaction::{Outcome, Sums, Tally, look_around};
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
    let (arguments, spare) = Spare::of(database.backend(), parameters)?;
    let pool = database.pool(true);
    let mut tally = tally(database, pool, name, origin);
    let mut held = acquire(pool, &mut tally).await?;
    let again = spare.is_any() && !held.is_new();
    let mut result = fetch_all(&mut held, sql.clone(), arguments).await;
    if again && held.is_broken() {
        let arguments = spare.arguments(database.backend())?;
        held = acquire_another(held, pool, &mut tally).await?;
        result = fetch_all(&mut held, sql, arguments).await;
    }
    if let Ok(rows) = &result {
        tally.context().add(&DB_ROWS_FETCHED, rows.len() as u64);
    }
    end(pool, held, tally, result)
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
    let (arguments, spare) = Spare::of(database.backend(), parameters)?;
    let pool = database.pool(true);
    let mut tally = tally(database, pool, name, origin);
    let mut held = acquire(pool, &mut tally).await?;
    let again = spare.is_any() && !held.is_new();
    let mut result = fetch_optional(&mut held, sql.clone(), arguments).await;
    if again && held.is_broken() {
        let arguments = spare.arguments(database.backend())?;
        held = acquire_another(held, pool, &mut tally).await?;
        result = fetch_optional(&mut held, sql, arguments).await;
    }
    if let Ok(Some(_)) = &result {
        tally.context().add(&DB_ROWS_FETCHED, 1);
    }
    end(pool, held, tally, result)
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
    let arguments = Arguments::of(database.backend(), parameters).map_err(Error::Database)?;
    let pool = database.pool(false);
    let mut tally = tally(database, pool, name, origin);
    let mut held = acquire(pool, &mut tally).await?;
    // Nobody could tell, afterwards, whether a connection was lost before the statement or with it.
    while !held.is_new() && !held.is_alive().await {
        held = acquire_another(held, pool, &mut tally).await?;
    }
    let result = change(&mut held, sql, arguments).await;
    end(pool, held, tally, result)
}

async fn change(held: &mut Held, sql: SqlStr, arguments: Arguments) -> Result<u64, sqlx::Error> {
    held.only_reads(false).await?;
    let result = held.connection().execute(sql, arguments).await;
    held.done(&result);
    result
}

/// Where the connection may turn out to have died while it was idle: what the arguments can be made of once more.
enum Spare<P> {
    None,
    Parameters(P),
    /// Of parameters that can be bound but once.
    Arguments(Arguments),
}

impl<P: Parameters> Spare<P> {
    /// The arguments, and that.
    fn of(backend: Backend, parameters: P) -> Result<(Arguments, Self), Error> {
        let bound = match backend {
            Backend::Sqlite => Arguments::of(backend, parameters).map(|arguments| (arguments, Self::None)),
            Backend::Postgres => match Arguments::of_ref(backend, &parameters) {
                Ok(Some(arguments)) => Ok((arguments, Self::Parameters(parameters))),
                Ok(None) => Arguments::of(backend, parameters)
                    .map(|arguments| (arguments.clone(), Self::Arguments(arguments))),
                Err(error) => Err(error),
            },
        };
        bound.map_err(Error::Database)
    }

    fn is_any(&self) -> bool {
        !matches!(self, Self::None)
    }

    fn arguments(self, backend: Backend) -> Result<Arguments, Error> {
        match self {
            Self::None => Arguments::of(backend, ()),
            Self::Parameters(parameters) => Arguments::of(backend, parameters),
            Self::Arguments(arguments) => Ok(arguments),
        }
        .map_err(Error::Database)
    }
}

fn tally<'a>(
    database: &'a Database,
    pool: &Pool,
    name: &'static str,
    origin: &'static Location<'static>,
) -> Tally<&'a Sums> {
    let context = payer(name, origin);
    look_around(pool, &context, name, origin);
    Tally::new(name, context, database.sums(name), database.settings().slow_transaction)
}

async fn acquire(pool: &Arc<Pool>, tally: &mut Tally<&Sums>) -> Result<Held, Error> {
    let held = match pool.acquire_at_once(tally.context()) {
        Some(held) => held,
        None => pool.acquire(tally.context(), tally.name()).await?,
    };
    tally.begins(held.since());
    Ok(held)
}

/// Instead of one that turned out to be dead: as if that had not been there.
async fn acquire_another(dead: Held, pool: &Arc<Pool>, tally: &mut Tally<&Sums>) -> Result<Held, Error> {
    tally.forgets();
    // Its place is needed for the next one.
    dead.settle().await;
    acquire(pool, tally).await
}

fn end<T>(
    pool: &Pool,
    held: Held,
    mut tally: Tally<&Sums>,
    result: Result<T, sqlx::Error>,
) -> Result<T, Error> {
    let backend = held.backend();
    let now = Instant::now();
    held.release_at(now);
    tally.ends_at(now);
    tally.conclude(if result.is_ok() { Outcome::Committed } else { Outcome::Failed });
    result.map_err(|error| ours(error, backend, &pool.settings))
}

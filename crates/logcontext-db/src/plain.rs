//! Statements that are a transaction of their own.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use logcontext::LogContext;
use sqlx::SqlStr;

use crate::connection::Answer;
use crate::database::payer;
use crate::error::ours;
use crate::interaction::{Outcome, Sums, Tally, look_around};
use crate::pool::{Held, Pool};
use crate::value::Arguments;
use crate::{Backend, DB_ROWS_FETCHED, Database, Error, Parameters};

/// All of a statement's lives as long as its future, which has the context: so nobody else needs to.
type Plain<'c> = Held<&'c LogContext>;
type Costs<'c> = Tally<&'c Sums, &'c LogContext>;

/// All rows of a query, or the first one. What is seldom needed is in boxes, so that nobody makes room for it.
pub(crate) async fn query<A: Answer>(
    database: &Database,
    name: &'static str,
    sql: SqlStr,
    parameters: impl Parameters,
    origin: &'static Location<'static>,
) -> Result<A, Error> {
    let backend = database.backend();
    let mut arguments = Arguments::none(backend);
    let spare = Spare::of(backend, parameters, &sql, &mut arguments).map_err(Error::Database)?;
    let mut arguments = Some(arguments);
    let pool = database.pool(true);
    let payer = payer(name, origin);
    let mut tally = tally(database, pool, name, &payer, origin);
    let mut held = match acquire_at_once(pool, &mut tally) {
        Some(held) => held,
        None => acquire(pool, &mut tally).await?,
    };
    let told = if held.is_told(true) { Ok(()) } else { Box::pin(held.only_reads(true)).await };
    let mut result = match told {
        Ok(()) => {
            let result = held.connection().fetch(sql, &mut arguments).await;
            held.done(&result);
            result
        }
        Err(error) => Err(error),
    };
    if held.is_broken()
        && !held.is_new()
        && let Some(spare) = spare
    {
        (held, result) = Box::pin(query_again(held, spare, pool, &mut tally)).await?;
    }
    if let Ok(answer) = &result
        && let rows @ 1.. = A::rows(answer)
    {
        tally.context().add(&DB_ROWS_FETCHED, rows);
    }
    end(&mut held, tally, result.is_ok());
    result.map_err(|error| ours(error, backend, &pool.settings))
}

/// The same with another connection than the one that turned out to be dead.
async fn query_again<'c, A: Answer, P: Parameters>(
    dead: Plain<'c>,
    spare: Spare<P>,
    pool: &Arc<Pool>,
    tally: &mut Costs<'c>,
) -> Result<(Plain<'c>, Result<A, sqlx::Error>), Error> {
    let Spare { sql, with } = spare;
    let mut arguments = Some(with.arguments(dead.backend())?);
    let mut held = acquire_another(dead, pool, tally).await?;
    if let Err(error) = held.only_reads(true).await {
        return Ok((held, Err(error)));
    }
    let result = held.connection().fetch(sql, &mut arguments).await;
    held.done(&result);
    Ok((held, result))
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
    let payer = payer(name, origin);
    let mut tally = tally(database, pool, name, &payer, origin);
    let mut held = match acquire_at_once(pool, &mut tally) {
        Some(held) => held,
        None => acquire(pool, &mut tally).await?,
    };
    // Nobody could tell, afterwards, whether a connection was lost before the statement or with it.
    while !held.is_new() && !held.is_alive().await {
        held = acquire_another(held, pool, &mut tally).await?;
    }
    let result = change(&mut held, sql, arguments).await;
    end(&mut held, tally, result.is_ok());
    result.map_err(|error| ours(error, database.backend(), &pool.settings))
}

async fn change(held: &mut Plain<'_>, sql: SqlStr, arguments: Arguments) -> Result<u64, sqlx::Error> {
    held.only_reads(false).await?;
    let result = held.connection().execute(sql, arguments).await;
    held.done(&result);
    result
}

/// What the query can be asked with once more, where the connection may turn out to have died while it was idle.
struct Spare<P> {
    sql: SqlStr,
    with: With<P>,
}

enum With<P> {
    Parameters(P),
    /// Of parameters that can be bound but once.
    Arguments(Box<Arguments>),
}

impl<P: Parameters> Spare<P> {
    /// Binds the parameters, and keeps that.
    fn of(
        backend: Backend,
        parameters: P,
        sql: &SqlStr,
        arguments: &mut Arguments,
    ) -> Result<Option<Self>, sqlx::Error> {
        if backend == Backend::Sqlite {
            arguments.bind(parameters)?;
            return Ok(None);
        }
        let with = if arguments.bind_ref(&parameters)? {
            With::Parameters(parameters)
        } else {
            arguments.bind(parameters)?;
            With::Arguments(Box::new(arguments.clone()))
        };
        Ok(Some(Self { sql: sql.clone(), with }))
    }
}

impl<P: Parameters> With<P> {
    fn arguments(self, backend: Backend) -> Result<Arguments, Error> {
        match self {
            Self::Parameters(parameters) => Arguments::of(backend, parameters).map_err(Error::Database),
            Self::Arguments(arguments) => Ok(*arguments),
        }
    }
}

#[inline]
fn tally<'a>(
    database: &'a Database,
    pool: &Pool,
    name: &'static str,
    payer: &'a LogContext,
    origin: &'static Location<'static>,
) -> Costs<'a> {
    look_around(pool, payer, name, origin);
    Tally::new(name, payer, database.sums(name), database.settings().slow_transaction)
}

/// Nearly always so.
#[inline]
fn acquire_at_once<'c>(pool: &Arc<Pool>, tally: &mut Costs<'c>) -> Option<Plain<'c>> {
    let held = pool.acquire_at_once(tally.context())?;
    tally.begins(held.since());
    Some(held)
}

async fn acquire<'c>(pool: &Arc<Pool>, tally: &mut Costs<'c>) -> Result<Plain<'c>, Error> {
    let held = pool.acquire(tally.context(), tally.name()).await?;
    tally.begins(held.since());
    Ok(held)
}

/// Instead of one that turned out to be dead: as if that had not been there.
async fn acquire_another<'c>(
    dead: Plain<'c>,
    pool: &Arc<Pool>,
    tally: &mut Costs<'c>,
) -> Result<Plain<'c>, Error> {
    tally.forgets();
    // Its place is needed for the next one.
    dead.settle().await;
    acquire(pool, tally).await
}

fn end(held: &mut Plain<'_>, mut tally: Costs<'_>, is_ok: bool) {
    let now = Instant::now();
    held.give_back(now);
    tally.ends_at(now);
    tally.conclude(if is_ok { Outcome::Committed } else { Outcome::Failed });
}

//! What a call of a database costs: ours, next to the driver's connection alone and to the driver's own pool.

mod postgres;
mod sides;
mod sqlite;

use std::time::Duration;

use logcontext_testservers::Postgres;
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::Effort;
use crate::cpu::share_one_processor;
use crate::report::{Report, rounded};
use crate::stats::Samples;

/// A call over the bare connection's, in microseconds.
const SQLITE_CEILING: f64 = 1.5;
const POSTGRES_CEILING: f64 = 1.0;

const TABLE: &str = "CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO users VALUES ($1, $2, 'offline')";
const SELECT: &str = "SELECT name, state FROM users WHERE id = $1";
const UPDATE: &str = "UPDATE users SET state = $1 WHERE id = $2";
const USERS: i64 = 1_000;

const A_DAY: Duration = Duration::from_secs(86_400);

/// In each round each side makes so many calls.
const CALLS: u32 = 50;

/// Nanoseconds per call, round by round, of each side.
struct Sides {
    bare: Samples,
    /// The same inside a context: what is not the pool's of ours.
    bare_in_context: Samples,
    ours: Samples,
    sqlx_pool: Samples,
}

impl From<[Samples; 4]> for Sides {
    fn from([bare, bare_in_context, ours, sqlx_pool]: [Samples; 4]) -> Self {
        let micros = |samples: Samples| samples.values().iter().map(|nanos| nanos / 1_000.0).collect();
        Self {
            bare: micros(bare),
            bare_in_context: micros(bare_in_context),
            ours: micros(ours),
            sqlx_pool: micros(sqlx_pool),
        }
    }
}

/// A query of one row by its key, and an interaction that writes: `BEGIN`, `UPDATE`, `COMMIT`.
struct Found {
    query: Sides,
    write: Sides,
}

pub(crate) fn run(report: &mut Report, effort: Effort) -> anyhow::Result<()> {
    let server = Postgres::shared();
    let processors = if share_one_processor() { "one" } else { "all" };

    report.section("SQLite, in microseconds of CPU per call");
    let found = sqlite::measure(effort)?;
    tell(report, "sqlite", &found, SQLITE_CEILING);

    report.section("PostgreSQL, in microseconds of CPU per call");
    match server {
        Ok(server) => {
            let (found, server_on) = postgres::measure(server, effort)?;
            tell(report, "postgres", &found, POSTGRES_CEILING);
            report.put("postgres_server", json!({ "processors": server_on }));
        }
        Err(missing) => report.note(&format!("not measured: {missing}")),
    }
    report.put(
        "method",
        json!({
            "clock": "CLOCK_PROCESS_CPUTIME_ID of the client: all its threads, user and system; not the server's",
            "runtime": "current_thread, one for each side, with a timer set",
            "processors": processors,
            "calls_per_round": CALLS,
            "query": SELECT,
            "txn": format!("BEGIN (SQLite: BEGIN IMMEDIATE); {UPDATE}; COMMIT"),
            "over": "median of the rounds' differences",
        }),
    );
    Ok(())
}

/// One for each side: what it leaves to be done later, as sqlx's pool does, is done in its own next turn. In each there
/// is a timer, as in every service: the system's waiting costs more then.
#[expect(clippy::disallowed_methods, reason = "it does nothing")]
fn runtimes() -> std::io::Result<[Runtime; 3]> {
    let runtime = || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        drop(runtime.spawn(async { tokio::time::sleep(A_DAY).await }));
        Ok::<_, std::io::Error>(runtime)
    };
    Ok([runtime()?, runtime()?, runtime()?])
}

fn tell(report: &mut Report, database: &str, found: &Found, ceiling: f64) {
    let mut figures = Map::new();
    for (sides, txn, ceiling) in [(&found.query, "", Some(ceiling)), (&found.write, "_txn", None)] {
        let over = |side: &Samples| side.zip(&sides.bare, |side, bare| side - bare);
        for (key, samples, ceiling) in [
            ("bare", &sides.bare, None),
            ("bare_in_context", &sides.bare_in_context, None),
            ("ours", &sides.ours, None),
            ("sqlx_pool", &sides.sqlx_pool, None),
            ("bare_in_context_over_bare", &over(&sides.bare_in_context), None),
            ("ours_over_bare", &over(&sides.ours), ceiling),
            ("sqlx_pool_over_bare", &over(&sides.sqlx_pool), None),
        ] {
            let key = format!("{key}{txn}_us");
            report.line(&format!("{database}.{key}"), samples.spread(), ceiling);
            figures.insert(key, rounded(samples.median()).into());
        }
    }
    report.put(database, Value::Object(figures));
}

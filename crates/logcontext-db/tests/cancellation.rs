//! A request that goes away takes its running statement with it, and never another one's.

mod common;

use std::time::Duration;

use common::outside::{Outside, polled, until};
use common::{DEADLINE, Own, Setting, on_both_databases};
use logcontext::{FutureExt, LogContext};
use logcontext_db::{Backend, Database, Error, Migration, sqlx};
use tokio::sync::oneshot;

const COUNT: &str = "SELECT count(*) FROM users";
const INSERT: &str = "INSERT INTO users VALUES ($1)";

fn table() -> [Migration; 1] {
    [Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY)")]
}

async fn open(own: &Own) -> Database {
    own.builder().migrations(table()).max_connections(1).open().await.unwrap()
}

/// Would run for minutes.
fn endless(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)
             SELECT count(*) FROM n"
        }
        _ => "SELECT pg_sleep(1000)",
    }
}

/// The same, and it writes.
fn endless_write(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)
             INSERT INTO users SELECT 'many' FROM n WHERE i > 999999999999"
        }
        _ => "INSERT INTO users SELECT 'many' FROM (SELECT pg_sleep(1000)) AS nap",
    }
}

/// Polls it for so long, and drops it. How far it has come by then is up to the database; it must end from anywhere.
async fn drop_after<F: Future>(time: Duration, future: F) {
    let ended = tokio::time::timeout(time, future).await;
    assert!(ended.is_err(), "it takes minutes");
}

/// The last is enough for the statement to run, unless the machine is very busy.
const TIMES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(50)];

/// Before the last of these times connections are there and idle: who asks next has one at once, however slow the
/// machine is. What that takes is another context's.
async fn get_ready(db: &Database, time: Duration, setting: &Setting<'_>) {
    if time == TIMES[3] {
        let other = LogContext::builder("other").supervisor(setting.test.supervisor()).start();
        let warm = async {
            db.query("warm", COUNT, ()).await.unwrap();
            db.execute("warm", "DELETE FROM users", ()).await.unwrap();
        };
        warm.in_context(other).await;
        until("idle", || db.connections_in_use() == 0).await;
    }
}

on_both_databases! {
    async fn a_dropped_plain_statement_ends_at_once(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        for time in TIMES {
            get_ready(&db, time, &setting).await;
            drop_after(time, db.query("endless", endless(own.backend), ())).await;
            until("ended", || db.connections_in_use() == 0).await;
            get_ready(&db, time, &setting).await;
            drop_after(time, db.execute("endless_write", endless_write(own.backend), ())).await;
            until("ended", || db.connections_in_use() == 0).await;
        }
        // Those that had a connection by then.
        until("counted", || (2..=8).contains(&setting.context.usage().db_txn_count)).await;
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        db.execute("add", INSERT, ("alice",)).await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_dropped_interaction_takes_its_statement_with_it(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let backend = own.backend;
        for time in TIMES {
            for sql in [endless(backend), endless_write(backend)] {
                let endless = db.run_interaction("endless", |mut txn| async move {
                    txn.execute(INSERT, ("alice",)).await?;
                    txn.execute(sql, ()).await
                });
                get_ready(&db, time, &setting).await;
                drop_after(time, endless).await;
                until("ended", || db.connections_in_use() == 0).await;
            }
        }
        // Those that had a connection by then.
        until("counted", || (2..=8).contains(&setting.context.usage().db_txn_count)).await;
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        db.execute("add", INSERT, ("alice",)).await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    /// What was asked for before must not end what is asked for afterwards, on the same connection.
    async fn the_next_statement_is_never_ended_in_its_place(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let rounds = if own.backend == Backend::Sqlite { 400 } else { 60 };
        for round in 0..rounds {
            // Ended before it begins, while it begins, while it runs, and when it is about to end.
            let statement = db.run_interaction("dropped", |mut txn| async move {
                txn.query(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
                     SELECT count(*) FROM n",
                    (i64::from(round) * 10,),
                )
                .await
            });
            let _ = polled(round as usize % 6, statement).await;
            let row = db
                .run_interaction("next", |mut txn| async move {
                    txn.query_one(
                        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                         SELECT count(*) FROM n",
                        (),
                    )
                    .await
                })
                .await
                .unwrap_or_else(|error| panic!("in round {round}: {error}"));
            assert_eq!(row.get::<i64>(0).unwrap(), 3_000);
        }
        assert!(setting.context.usage().db_txn_count >= rounds as u64);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_statement_that_is_dropped_inside_takes_the_transaction_with_it(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let backend = own.backend;
        for (time, ignored) in TIMES.into_iter().flat_map(|time| [(time, true), (time, false)]) {
            let ended: Result<(), Error> = db
                .run_interaction("impatient", |mut txn| async move {
                    txn.execute(INSERT, ("alice",)).await?;
                    drop_after(time, txn.query(endless(backend), ())).await;
                    let next = txn.execute(INSERT, ("bob",)).await;
                    assert!(matches!(next, Err(Error::Interrupted)), "{next:?}");
                    if ignored { Ok(()) } else { next.map(drop) }
                })
                .await;
            assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
            assert_eq!(db.connections_in_use(), 0, "by then it is settled");
            assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        }
        db.execute("add", INSERT, ("alice",)).await.unwrap();
        assert_eq!(setting.context.usage().db_txn_count, 9);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    /// A task of its own is in the middle of a statement when the closure returns.
    async fn a_txn_that_is_busy_elsewhere_is_not_committed(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let backend = own.backend;
        let ended: Result<(), Error> = db
            .run_interaction("smuggler", |mut txn| async move {
                txn.execute(INSERT, ("alice",)).await?;
                let (started, has_started) = oneshot::channel();
                drop(logcontext::run_in_background(async move {
                    let mut started = Some(started);
                    let mut endless = Box::pin(txn.query(endless(backend), ()));
                    let running = std::future::poll_fn(|cx| {
                        let polled = endless.as_mut().poll(cx);
                        // Only now has the connection been taken.
                        started.take().map(|started| started.send(()));
                        polled
                    });
                    drop_after(TIMES[3], running).await;
                }));
                has_started.await.unwrap();
                Ok(())
            })
            .await;
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        until("idle", || db.connections_in_use() == 0).await;
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        assert_eq!(setting.context.usage().db_txn_count, 1);
        db.execute("add", INSERT, ("alice",)).await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_statement_that_takes_too_long_says_which_limit_it_was(own: Own, setting: Setting<'_>) {
        let limit = Duration::from_millis(50);
        let db =
            own.builder().migrations(table()).max_connections(1).statement_timeout(limit).open().await.unwrap();
        let backend = own.backend;
        for _ in 0..3 {
            let ended = db.query("endless", endless(backend), ()).await;
            let error = ended.unwrap_err();
            assert!(matches!(error, Error::StatementTimeout { limit: Some(found) } if found == limit), "{error:?}");
            assert_eq!(error.to_string(), "a statement was cancelled after 50ms: the statement timeout");
            // The next one has all of its time again.
            db.query("quick", "SELECT 1", ()).await.unwrap();

            // Whoever ignores it is not told that it was committed: what it had done may be gone.
            let ended: Result<(), Error> = db
                .run_interaction("careless", |mut txn| async move {
                    txn.execute(INSERT, ("alice",)).await?;
                    let ended = txn.execute(endless_write(backend), ()).await;
                    assert!(matches!(ended, Err(Error::StatementTimeout { .. })), "{ended:?}");
                    Ok(())
                })
                .await;
            assert!(matches!(ended, Err(Error::Failed { .. })), "{ended:?}");
            assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        }
        db.execute("add", INSERT, ("alice",)).await.unwrap();
        assert_eq!(setting.context.usage().db_txn_count, 10);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }
}

/// What has no limit of ours, sqlx's own connection, is not ended by one that was somebody else's.
#[test]
fn a_limit_that_is_over_ends_nothing_more() {
    common::run(Own::sqlite, async |own, _| {
        let limit = Duration::from_millis(20);
        let db = own.builder().migrations(table()).statement_timeout(limit).open().await.unwrap();
        let backend = own.backend;
        let counted: i64 = db
            .run_interaction("patient", |mut txn| async move {
                let ended = txn.query(endless(backend), ()).await;
                assert!(matches!(ended, Err(Error::StatementTimeout { .. })), "{ended:?}");
                let mut native = txn.sqlite()?;
                let counted = sqlx::query_scalar(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                     SELECT count(*) FROM n",
                );
                let counted = counted.fetch_one(native.sqlite_connection().expect("it is SQLite's")).await;
                native.done(counted)
            })
            .await
            .unwrap();
        assert_eq!(counted, 3_000);
        db.close(DEADLINE).await;
    });
}

//! What nobody waits for any more is cancelled: that statement, and never another one's.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use common::asking::{SLEEP, SLEEPING, interaction, query, sleeper};
use common::figures::Figures;
use common::hold::{self, Hold};
use common::outside::{polled, until};
use common::{DEADLINE, Own, Setting};
use logcontext::Background;
use logcontext_db::Error;
use tracing::Level;

fn opened(setting: &Setting<'_>) -> u64 {
    Figures::now(setting).count("db_pool_connect_seconds", "")
}

/// Many bytes, and none at once: the first look at it finds nothing.
const WIDE: &str = "SELECT $1::bigint, repeat('x', 20000), pg_sleep(0.002)";

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_request_that_goes_away_takes_its_statement_with_it() {
    common::run(Own::postgres, async |own, setting| {
        let db = own.builder().max_connections(2).open().await.unwrap();
        // With room in the pool, and without.
        let other = sleeper(&db, &own, &setting.context).await;
        let opened_before = opened(&setting);
        let request = setting.context.nested("request");
        let sleeping = sleeper(&db, &own, &request).await;
        let mine = db.clone();
        let next = hold::run(&setting.context, async move { query(&mine, 5).await });
        until("the pool is exhausted", || db.waiting().len() == 1).await;
        sleeping.abort();
        assert!(sleeping.await.is_err());
        own.until_sessions(SLEEPING, 1).await;
        assert_eq!(hold::outcome(next).await.unwrap(), 5);
        // On a connection of its own: the cancelled one is not used again.
        assert_eq!(opened(&setting), opened_before + 2);
        assert_eq!(own.sessions(SLEEPING).await, 1);
        // Inside of a transaction it is the same.
        let mine = db.clone();
        let inside = hold::run(&setting.context, async move {
            let run =
                mine.run_interaction("sleep", |mut txn| async move { txn.query(SLEEP, ()).await.map(drop) });
            run.await
        });
        own.until_sessions(SLEEPING, 2).await;
        inside.abort();
        assert!(inside.await.is_err());
        own.until_sessions(SLEEPING, 1).await;
        other.abort();
        assert!(other.await.is_err());
        own.until_sessions(SLEEPING, 0).await;
        // What cancels keeps its connection for the next time, and no longer than the database is open.
        until("all are settled", || db.connections_in_use() == 0).await;
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn the_connection_that_cancels_is_closed_when_it_is_idle() {
    common::run(Own::postgres, async |own, setting| {
        let db = own.builder().idle_timeout(Duration::from_millis(100)).open().await.unwrap();
        for _ in 0..2 {
            let sleeping = sleeper(&db, &own, &setting.context).await;
            sleeping.abort();
            assert!(sleeping.await.is_err());
            until("all are closed", || db.open_connections() == 0).await;
            own.is_free().await;
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_cancel_after_a_restart_finds_its_statement_too() {
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own.builder().open().await.unwrap();
            for _ in 0..2 {
                // The connection for cancelling is one of before the restart.
                let sleeping = sleeper(&db, &own, &setting.context).await;
                sleeping.abort();
                assert!(sleeping.await.is_err());
                own.until_sessions(SLEEPING, 0).await;
                own.server(|server, _| server.restart()).await;
            }
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            own.is_free().await;
        },
    );
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn nobody_elses_statement_is_cancelled() {
    const ROUNDS: i64 = 100;
    common::run(Own::postgres, async |own, setting| {
        let db = own.builder().max_connections(6).open().await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let others: Vec<_> = (0..3)
            .map(|task| {
                let (db, stop) = (db.clone(), Arc::clone(&stop));
                hold::run(&setting.context, async move {
                    let mut i = 0;
                    while !stop.load(SeqCst) {
                        i += 3;
                        let value = i + task;
                        let slowly = "SELECT $1::bigint FROM pg_sleep(0.002)";
                        let echo = db.query_one("slowly", slowly, (value,)).await?.get::<i64>(0)?;
                        assert_eq!(echo, value);
                    }
                    Ok::<i64, Error>(i)
                })
            })
            .collect();
        for round in 0..ROUNDS {
            let (db, leave) = (db.clone(), Duration::from_micros(fastrand::u64(0..6_000)));
            let sleeping = db.query("sleep", SLEEP, ());
            assert!(tokio::time::timeout(leave, sleeping).await.is_err(), "{round}");
        }
        stop.store(true, SeqCst);
        for other in others {
            assert!(hold::outcome(other).await.unwrap() > 0);
        }
        own.until_sessions(SLEEPING, 0).await;
        until("all are settled", || db.connections_in_use() == 0).await;
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn two_hundred_who_leave_at_once_leave_nothing_behind() {
    common::run(Own::postgres, async |own, setting| {
        let db = own.builder().max_connections(10).open().await.unwrap();
        let sleeping: Vec<_> = (0..200)
            .map(|_| {
                let db = db.clone();
                hold::run(&setting.context, async move { db.query("sleep", SLEEP, ()).await.map(drop) })
            })
            .collect();
        own.until_sessions(SLEEPING, 10).await;
        until("the others wait", || db.waiting().len() == 190).await;
        sleeping.iter().for_each(Background::abort);
        for sleeping in sleeping {
            assert!(sleeping.await.is_err());
        }
        assert_eq!(query(&db, 1).await.unwrap(), 1);
        own.until_sessions(SLEEPING, 0).await;
        until("all are settled", || db.connections_in_use() == 0).await;
        // One for the query, and one that has cancelled them all.
        own.until_sessions("true", db.open_connections()).await;
        assert!(db.open_connections() <= 11);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_frozen_server_keeps_no_place_for_ever() {
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own.builder().max_connections(1).open().await.unwrap();
            let sleeping = sleeper(&db, &own, &setting.context).await;
            let mine = db.clone();
            let next = hold::run(&setting.context, async move { query(&mine, 3).await });
            until("the next one waits", || db.waiting().len() == 1).await;
            own.server(|server, _| server.pause()).await;
            sleeping.abort();
            assert!(sleeping.await.is_err());
            // Nobody answers, and yet its place is given away.
            until("there is a place", || db.waiting().is_empty()).await;
            own.server(|server, _| server.resume()).await;
            assert_eq!(hold::outcome(next).await.unwrap(), 3);
            let warnings = setting.test.records_at(Level::WARN);
            assert!(warnings.iter().any(|warning| warning.message.contains("could not be cancelled")));
            // A transaction that waits for its next statement can be rolled back no better.
            let held = Hold::begin(&db, &setting.context).await;
            own.server(|server, _| server.pause()).await;
            held.abort().await;
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            own.server(|server, _| server.resume()).await;
            // What was sleeping there is our doing no more than the server's.
            own.kill("true").await;
        },
    );
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_query_that_is_dropped_at_any_moment_leaves_no_answer_to_another() {
    common::run(Own::postgres, async |own, setting| {
        let db = own.builder().max_connections(2).open().await.unwrap();
        let mut value = 0;
        let mut left = 0;
        for polls in 1..=12 {
            for _ in 0..25 {
                value += 1;
                let asking = db.query_one("wide", WIDE, (value,));
                match polled(polls, asking).await {
                    Some(row) => assert_eq!(row.unwrap().get::<i64>(0).unwrap(), value),
                    None => left += 1,
                }
                let changing = interaction(&db, -value);
                match polled(polls, changing).await {
                    Some(echo) => assert_eq!(echo.unwrap(), -value),
                    None => left += 1,
                }
                value += 1;
                assert_eq!(query(&db, value).await.unwrap(), value);
                assert_eq!(interaction(&db, value).await.unwrap(), value);
            }
        }
        assert!(left > 10, "{left} were dropped");
        until("all are settled", || db.connections_in_use() == 0).await;
        let held = [Hold::begin(&db, &setting.context).await, Hold::begin(&db, &setting.context).await];
        for held in held {
            held.end().await.unwrap();
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn the_servers_own_statement_timeout_is_told_apart_from_a_cancel() {
    common::run(Own::postgres, async |own, setting| {
        let db = own.builder().open().await.unwrap();
        let run = db.run_interaction("limited", |mut txn| async move {
            txn.execute("SET LOCAL statement_timeout = 20", ()).await?;
            txn.query(SLEEP, ()).await.map(drop)
        });
        let error = run.await.unwrap_err();
        assert!(matches!(error, Error::StatementTimeout { limit: None }), "{error:?}");
        let text = "a statement was cancelled after the server's limit: the statement timeout";
        assert_eq!(error.to_string(), text);
        assert_eq!(Figures::now(&setting).value("db_statement_timeouts", ""), 1.0);

        let sleeping = sleeper(&db, &own, &setting.context).await;
        let sleepers = format!("select pg_cancel_backend(pid) from pg_stat_activity where {SLEEPING}");
        own.psql(format!("{sleepers} and datname = '{}'", own.database())).await;
        let error = hold::outcome(sleeping).await.unwrap_err();
        assert!(matches!(error, Error::Database(_)), "{error:?}");
        assert_eq!(Figures::now(&setting).value("db_statement_timeouts", ""), 1.0);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_statement_that_had_not_begun_when_it_was_cancelled_is_cancelled_again() {
    let server = common::server(&[]);
    let nap = "SELECT count(*) FROM pg_sleep($1)";
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own.builder().max_connections(1).open().await.unwrap();
            // Prepared: the next time it is sent at once, without asking how it is meant.
            db.query("sleep", nap, (0.0,)).await.unwrap();
            own.signal_sessions("STOP").await;
            let mine = db.clone();
            let sleeping =
                hold::run(
                    &setting.context,
                    async move { mine.query("sleep", nap, (600.0,)).await.map(drop) },
                );
            until("it is sent", || db.connections_in_use() == 1).await;
            sleeping.abort();
            assert!(sleeping.await.is_err());
            own.until_sessions("query like '%pg_cancel_backend%' and state = 'idle'", 1).await;
            // It hears of the cancelling before it finds the statement, and has nothing to cancel then.
            own.signal_sessions("CONT").await;
            until("it is settled", || db.connections_in_use() == 0).await;
            own.until_sessions("query like '%pg_sleep($1)%' and state = 'active'", 0).await;
            let warnings = setting.test.records_at(Level::WARN);
            assert!(warnings.is_empty(), "{warnings:?}");
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            own.is_free().await;
        },
    );
}

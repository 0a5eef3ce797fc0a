//! What only a server does to its connections: it loses them, restarts, and does not answer.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::asking::{interaction, query, sleeper};
use common::figures::Figures;
use common::hold::{self, Hold};
use common::outside::until;
use common::{DEADLINE, Own};
use logcontext::LogContext;
use logcontext_db::{Database, Error, Migration};
use logcontext_testservers::Stop;
use tokio::runtime::Runtime;

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn connections_that_die_while_they_are_idle_cost_no_error() {
    common::run(Own::postgres, async |own, setting| {
        let table = [Migration::new(1, "numbers", "CREATE TABLE numbers (n BIGINT NOT NULL)")];
        let db = own.builder().max_connections(3).migrations(table).open().await.unwrap();
        for round in 0..4 {
            let mut held = Vec::new();
            for _ in 0..3 {
                held.push(Hold::begin(&db, &setting.context).await);
            }
            for held in held {
                held.end().await.unwrap();
            }
            own.kill("true").await;
            let before = setting.context.usage().db_txn_count;
            match round {
                0 => assert_eq!(interaction(&db, 1).await.unwrap(), 1),
                1 => assert_eq!(query(&db, 2).await.unwrap(), 2),
                2 => assert!(db.query_optional("none", "SELECT 1 WHERE false", ()).await.unwrap().is_none()),
                // What changes something must not happen twice.
                _ => assert_eq!(
                    db.execute("add", "INSERT INTO numbers VALUES ($1)", (1_i64,)).await.unwrap(),
                    1
                ),
            }
            assert_eq!(setting.context.usage().db_txn_count, before + 1);
            // The others are replaced as well, before somebody meets them.
            for i in 0..6 {
                assert_eq!(query(&db, i).await.unwrap(), i);
            }
        }
        let rows = db.query("count", "SELECT n FROM numbers", ()).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert!(Figures::now(&setting).value("db_pool_connections_lost", "") >= 4.0);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_connection_that_dies_in_use_costs_that_one_and_no_other() {
    common::run(Own::postgres, async |own, setting| {
        let db = own.builder().max_connections(2).open().await.unwrap();
        let idle = Hold::begin(&db, &setting.context).await;
        let sleeping = sleeper(&db, &own, &setting.context).await;
        idle.end().await.unwrap();
        own.kill("true").await;
        let lost = hold::outcome(sleeping).await.unwrap_err();
        assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
        assert_eq!(lost.to_string(), "the connection to the database was lost");
        for i in 0..6 {
            assert_eq!(interaction(&db, i).await.unwrap(), i);
            assert_eq!(query(&db, i).await.unwrap(), i);
        }
        // Between two statements of a transaction: that one is lost as well, and says so.
        let held = Hold::begin(&db, &setting.context).await;
        own.kill("true").await;
        assert!(matches!(held.end().await, Err(Error::ConnectionLost(_))));
        assert_eq!(interaction(&db, 7).await.unwrap(), 7);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_restart_under_load_costs_what_was_in_flight() {
    const TASKS: usize = 20;
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own.builder().max_connections(10).open().await.unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let done = Arc::new(AtomicU32::new(0));
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let (db, stop, done) = (db.clone(), Arc::clone(&stop), Arc::clone(&done));
                    hold::run(&setting.context, async move {
                        let mut errors = Vec::new();
                        let mut i = 0;
                        while !stop.load(SeqCst) {
                            i += 1;
                            let value = i * 100 + task as i64;
                            let result = match i % 2 {
                                0 => interaction(&db, value).await,
                                _ => query(&db, value).await,
                            };
                            match result {
                                Ok(echo) => assert_eq!(echo, value),
                                Err(error) => errors.push(error),
                            }
                            done.fetch_add(1, SeqCst);
                        }
                        errors
                    })
                })
                .collect();
            let mut restarts = 0;
            let failures = || Figures::now(&setting).value("db_pool_connect_failures", "");
            for (how, tries) in [(Stop::Fast, 0.0), (Stop::Immediate, 0.0), (Stop::Immediate, 40.0)] {
                let before = done.load(SeqCst);
                until("all go on", || done.load(SeqCst) >= before + 200).await;
                own.server(move |server, _| server.stop(how)).await;
                let down = failures();
                until("so many have tried in vain", || failures() >= down + tries).await;
                own.server(|server, _| server.start_again()).await;
                restarts += 1;
            }
            let before = done.load(SeqCst);
            until("all go on", || done.load(SeqCst) >= before + 200).await;
            stop.store(true, SeqCst);
            for task in tasks {
                let errors = hold::outcome(task).await;
                assert!(errors.len() <= restarts, "{errors:?}");
                assert!(errors.iter().all(|error| matches!(error, Error::ConnectionLost(_))), "{errors:?}");
            }
            assert_eq!(db.connections_in_use(), 0);
            assert!(db.waiting().is_empty());
            own.until_sessions("true", db.open_connections()).await;
            assert!(db.open_connections() <= 10);
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            own.is_free().await;
        },
    );
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_connection_that_does_not_answer_is_replaced_and_the_others_with_it() {
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own
                .builder()
                .max_connections(4)
                .acquire_timeout(Duration::from_secs(4))
                .open()
                .await
                .unwrap();
            let mut held = Vec::new();
            for _ in 0..4 {
                held.push(Hold::begin(&db, &setting.context).await);
            }
            // One dies, so the others are asked before they are used; and their sessions do not answer.
            kill_one(&own).await;
            let mut lost = 0;
            for held in held {
                lost += u32::from(held.end().await.is_err());
            }
            assert_eq!(lost, 1);
            own.signal_sessions("STOP").await;
            // Each alone would cost half of the time that one may wait.
            assert_eq!(query(&db, 1).await.unwrap(), 1);
            own.signal_sessions("CONT").await;
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            own.is_free().await;
        },
    );
}

async fn kill_one(own: &Own) {
    let database = own.database();
    let one = format!("(select max(pid) from pg_stat_activity where datname = '{database}')");
    let before = own.sessions("true").await;
    own.psql(format!("select pg_terminate_backend({one})")).await;
    own.until_sessions("true", before - 1).await;
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_database_goes_on_when_one_of_its_two_runtimes_is_gone() {
    let own = Own::postgres();
    let TwoRuntimes { first, second, context, db, .. } = &mut TwoRuntimes::on(&own, 2);
    for gone in [false, true] {
        if gone {
            drop(first.take());
        }
        block_on(second, context, async {
            for i in 0..10 {
                assert_eq!(interaction(db, i).await.unwrap(), i);
                assert_eq!(query(db, i).await.unwrap(), i);
            }
            Ok(())
        });
    }
    close(second, context, db, &own);
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_transaction_whose_connection_goes_with_another_runtime_is_tried_again() {
    let own = Own::postgres();
    let TwoRuntimes { first, second, context, db, .. } = &mut TwoRuntimes::on(&own, 1);
    let first = Arc::new(Mutex::new(first.take()));
    let run = db.run_interaction("ask", |mut txn| {
        let first = Arc::clone(&first);
        async move {
            let Some(first) = first.lock().unwrap().take() else {
                return txn.query_one("SELECT 2", ()).await?.get::<i32>(0);
            };
            assert_eq!(txn.query_one("SELECT 1", ()).await?.get::<i32>(0)?, 1);
            // In the middle of it. It ends by and by, and an answer that has come already needs no runtime.
            first.shutdown_background();
            for _ in 0..100_000 {
                txn.query("SELECT 1", ()).await?;
            }
            panic!("the connection goes on without its runtime");
        }
    });
    assert_eq!(block_on(second, context, run), 2);
    close(second, context, db, &own);
    assert_eq!(context.usage().db_txn_count, 2, "one each, however often it was tried");
}

/// A database that was opened, and first used, in a runtime that is not the only one.
struct TwoRuntimes {
    db: Database,
    first: Option<Runtime>,
    second: Runtime,
    context: LogContext,
    _kit: logcontext::testing::Test,
}

impl TwoRuntimes {
    fn on(own: &Own, connections: usize) -> Self {
        let kit = logcontext::testing::start();
        let [_, first] = common::runtimes(&kit);
        let [_, second] = common::runtimes(&kit);
        let context = LogContext::builder("GET-1").supervisor(kit.supervisor()).start();
        let db = block_on(&first, &context, async {
            let db = own.builder().max_connections(connections).open().await?;
            assert_eq!(interaction(&db, 1).await?, 1);
            Ok(db)
        });
        Self { db, first: Some(first), second, context, _kit: kit }
    }
}

fn close(runtime: &Runtime, context: &LogContext, db: &Database, own: &Own) {
    block_on(runtime, context, async {
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
        Ok(())
    });
}

fn block_on<T>(runtime: &Runtime, context: &LogContext, future: impl Future<Output = Result<T, Error>>) -> T {
    runtime.block_on(logcontext::FutureExt::in_context(future, context.clone())).unwrap()
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_statement_is_prepared_once_for_a_connection() {
    common::run(Own::postgres, async |own, _setting| {
        const ROWS: &str = "SELECT $1::bigint AS again";
        const NONE: &str = "SELECT 1 AS again";
        let db = own.builder().max_connections(1).open().await.unwrap();
        for n in 0..3_i64 {
            db.query("one", ROWS, (n,)).await.unwrap();
            db.query_one("one", ROWS, (n,)).await.unwrap();
            db.query_one("one", NONE, ()).await.unwrap();
        }
        for statement in [ROWS, NONE] {
            let count = "SELECT count(*) FROM pg_prepared_statements WHERE statement = $1";
            let row = db.query_one("count", count, (statement,)).await.unwrap();
            assert_eq!(row.get::<i64>(0).unwrap(), 1, "{statement}");
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

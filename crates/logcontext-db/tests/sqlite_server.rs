//! SQLite as a service needs it.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::figures::Figures;
use common::hold;
use common::outside::{Outside, polled, until};
use common::{DEADLINE, Own};
use futures_util::future::join_all;
use logcontext::{FutureExt as _, testing};
use logcontext_db::{Database, Error, Migration};
use tokio::sync::oneshot;

const COUNT: &str = "SELECT count(*) FROM users";
const INSERT: &str = "INSERT INTO users VALUES ($1)";

fn table() -> [Migration; 1] {
    [Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY)")]
}

async fn text(db: &Database, sql: &'static str) -> String {
    let row = db.query_one("pragma", sql, ()).await.unwrap();
    row.get::<String>(0).or_else(|_| row.get::<i64>(0).map(|number| number.to_string())).unwrap()
}

#[test]
fn it_is_opened_as_a_service_needs_it() {
    common::run(Own::sqlite, async |own, _| {
        let db =
            own.builder().migrations(table()).busy_timeout(Duration::from_millis(1234)).open().await.unwrap();
        // Of a reader, and of the writer.
        for (pragma, expected) in [("journal_mode", "wal"), ("foreign_keys", "1"), ("busy_timeout", "1234")] {
            let sql: &'static str = format!("PRAGMA {pragma}").leak();
            assert_eq!(text(&db, sql).await, expected, "{pragma}");
            let found = db
                .run_interaction("pragma", |mut txn| async move {
                    let row = txn.query_one(sql, ()).await?;
                    row.get::<String>(0).or_else(|_| row.get::<i64>(0).map(|number| number.to_string()))
                })
                .await;
            assert_eq!(found.unwrap(), expected, "{pragma} of the writer");
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
fn a_busy_timeout_that_is_too_long_for_it_is_as_long_as_can_be() {
    common::run(Own::sqlite, async |own, _| {
        let db = own.builder().busy_timeout(Duration::MAX).open().await.unwrap();
        assert_eq!(text(&db, "PRAGMA busy_timeout").await, i32::MAX.to_string());
        db.close(DEADLINE).await;
    });
}

#[test]
fn foreign_keys_are_enforced() {
    common::run(Own::sqlite, async |own, _| {
        let db = own
            .builder()
            .migrations(table())
            .migrations([Migration::new(
                2,
                "posts",
                "CREATE TABLE posts (author TEXT REFERENCES users (name))",
            )])
            .open()
            .await
            .unwrap();
        let refused = db.execute("post", "INSERT INTO posts VALUES ('nobody')", ()).await;
        assert!(refused.unwrap_err().to_string().contains("FOREIGN KEY"));
        db.close(DEADLINE).await;
    });
}

#[test]
fn many_writers_take_their_turns() {
    common::run(Own::sqlite, async |own, setting| {
        // None of them waits in SQLite, which would be an error at once.
        let db =
            own.builder().migrations(table()).busy_timeout(Duration::ZERO).max_tries(1).open().await.unwrap();
        let inside = &AtomicUsize::new(0);
        let at_once = join_all((0..50).map(|number| {
            let db = &db;
            async move {
                db.run_interaction("write", |mut txn| async move {
                    assert_eq!(inside.fetch_add(1, SeqCst), 0, "one at a time");
                    txn.execute(INSERT, (number.to_string(),)).await?;
                    tokio::task::yield_now().await;
                    let rows = txn.query(COUNT, ()).await;
                    inside.fetch_sub(1, SeqCst);
                    rows
                })
                .await
            }
        }))
        .await;
        assert!(at_once.iter().all(Result::is_ok), "{at_once:?}");
        let plain =
            join_all((50..100).map(|number| db.execute("plain", INSERT, (number.to_string(),)))).await;
        assert!(plain.iter().all(Result::is_ok), "{plain:?}");
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 100);

        assert_eq!(setting.context.usage().db_txn_count, 100);
        assert!(setting.context.usage().db_wait().unwrap() > Duration::ZERO);
        let figures = Figures::now(&setting);
        // Each of them once, those that found it free as well; and one more for the opening.
        assert_eq!(figures.count("db_pool_wait_seconds", "pool=writer"), 101);
        assert_eq!(figures.value("db_pool_waiting", "pool=writer"), 0.0);
        assert_eq!(figures.value("db_transaction_tries", "transaction=write"), 50.0);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
fn readers_go_on_while_somebody_writes() {
    common::run(Own::sqlite, async |own, _| {
        let db = &own.builder().migrations(table()).open().await.unwrap();
        db.run_interaction("write", |mut txn| async move {
            txn.execute(INSERT, ("alice",)).await?;
            // In the middle of it: others see what was before.
            let rows = db.query("read", "SELECT * FROM users", ()).await?;
            assert!(rows.is_empty());
            let rows = db
                .interaction("read")
                .read_only()
                .run(|mut txn| async move { txn.query("SELECT * FROM users", ()).await })
                .await?;
            assert!(rows.is_empty());
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
        assert_eq!(db.query("read", "SELECT * FROM users", ()).await.unwrap().len(), 1);
        db.close(DEADLINE).await;
    });
}

/// What reads sees one state of the database, whatever is committed meanwhile.
#[test]
fn a_reader_sees_one_state() {
    common::run(Own::sqlite, async |own, _| {
        let db = &own.builder().migrations(table()).open().await.unwrap();
        db.interaction("read")
            .read_only()
            .run(|mut txn| async move {
                assert!(txn.query("SELECT * FROM users", ()).await?.is_empty());
                db.execute("write", INSERT, ("alice",)).await?;
                assert!(txn.query("SELECT * FROM users", ()).await?.is_empty());
                Ok::<(), Error>(())
            })
            .await
            .unwrap();
        db.close(DEADLINE).await;
    });
}

fn in_memory() -> Own {
    let mut own = Own::sqlite();
    own.url = "sqlite::memory:".to_owned();
    own
}

#[test]
fn what_only_reads_cannot_write_on_any_kind_of_database() {
    for own in [Own::sqlite, in_memory] {
        common::run(own, async |own, _| {
            let db = own.builder().migrations(table()).open().await.unwrap();
            let refuse = |refused: Result<(), Error>| {
                let error = refused.unwrap_err().to_string();
                assert!(error.contains("readonly"), "{error}");
            };
            for _ in 0..2 {
                refuse(
                    db.query("plain", "INSERT INTO users VALUES ('eve') RETURNING name", ()).await.map(drop),
                );
                let sql = "INSERT INTO users VALUES ('eve') RETURNING name";
                refuse(db.query_optional("plain", sql, ()).await.map(drop));
                let read_only = db.interaction("read").read_only();
                refuse(
                    read_only
                        .run(|mut txn| async move { txn.execute(INSERT, ("eve",)).await.map(drop) })
                        .await,
                );
                // Whoever may write can do so again.
                db.execute("plain", "DELETE FROM users", ()).await.unwrap();
                db.run_interaction("write", |mut txn| async move { txn.execute(INSERT, ("alice",)).await })
                    .await
                    .unwrap();
            }
            db.close(DEADLINE).await;
        });
    }
}

/// On every way out of what only reads, and before it, the only connection to a database in memory can write again.
#[test]
fn in_memory_who_may_write_can_whatever_became_of_the_reader_before() {
    common::run(in_memory, async |own, setting| {
        let db = own.builder().migrations(table()).open().await.unwrap();
        for n in 0.. {
            let reading = db.interaction("read").read_only().run(|mut txn| async move {
                let refused = txn.execute(INSERT, ("eve",)).await;
                assert!(refused.is_err(), "it only reads");
                txn.query(COUNT, ()).await?;
                if n % 2 == 0 { Ok(()) } else { Err(Error::Over) }
            });
            let ended = polled(n, reading).await;
            db.execute("write", INSERT, (n.to_string(),))
                .await
                .unwrap_or_else(|error| panic!("{n}: {error}"));
            let reading =
                polled(n, db.query("read", "INSERT INTO users VALUES ('eve') RETURNING 1", ())).await;
            assert!(reading.is_none_or(|answer| answer.is_err()), "it only reads");
            db.run_interaction("write", |mut txn| async move { txn.execute("DELETE FROM users", ()).await })
                .await
                .unwrap_or_else(|error| panic!("{n}: {error}"));
            if ended.is_some() && n > 12 {
                break;
            }
        }
        until("idle", || db.connections_in_use() == 0).await;
        assert_eq!(db.open_connections(), 1, "it is the same that it ever was");
        assert!(setting.context.usage().db_txn_count > 0);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

/// Whatever goes wrong, the only connection to it is kept: closing that would be the end of it.
#[test]
fn in_memory_it_outlives_all_that_goes_wrong() {
    common::run(in_memory, async |own, _| {
        let db =
            own.builder().migrations(table()).idle_timeout(Duration::from_millis(1)).open().await.unwrap();
        db.execute("add", INSERT, ("alice",)).await.unwrap();
        for wrong in
            ["SELEC", "SELECT :name", "SELECT @name", "SELECT $name", "", "SELECT '", "COMMIT", "ROLLBACK"]
        {
            let _ = db.execute("wrong", wrong, (1_i64,)).await;
            let _ = db.query("wrong", wrong, (1_i64,)).await;
            let _ = db
                .run_interaction("wrong", |mut txn| async move { txn.execute(wrong, (1_i64,)).await })
                .await;
            let rows = db.query("all", "SELECT * FROM users", ()).await;
            assert_eq!(rows.unwrap_or_else(|error| panic!("after {wrong}: {error}")).len(), 1, "{wrong}");
        }
        let endless =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) INSERT INTO users SELECT i FROM n";
        for n in 1..10 {
            assert!(
                polled(n.min(2), db.execute("endless", endless, ())).await.is_none_or(|ended| ended.is_err())
            );
        }
        assert_eq!(db.query("all", "SELECT * FROM users", ()).await.unwrap().len(), 1);
        db.close(DEADLINE).await;
    });
}

/// A runtime that ends in the middle of a statement takes the connection with it.
#[test]
fn in_memory_what_is_lost_is_an_error_and_never_empty() {
    let kit = testing::start();
    for [first, second] in [common::runtimes(&kit), {
        let [one, two] = common::runtimes(&kit);
        [two, one]
    }] {
        let context = kit.supervisor().context("GET-1").start();
        let started = async {
            let db = Database::builder("sqlite::memory:").migrations(table()).open().await.unwrap();
            db.execute("add", INSERT, ("alice",)).await.unwrap();
            let mine = db.clone();
            let endless =
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n";
            drop(hold::run(&context, async move { mine.query("endless", endless, ()).await.map(drop) }));
            until("it runs", || db.connections_in_use() == 1).await;
            db
        };
        let db = first.block_on(started.in_context(context.clone()));
        drop(first);
        let ended = async {
            for _ in 0..2 {
                let answers = [
                    db.query("all", "SELECT * FROM users", ()).await.map(drop),
                    db.query("other", "SELECT 1", ()).await.map(drop),
                    db.execute("make", "CREATE TABLE users (name TEXT)", ()).await.map(drop),
                    db.run_interaction("inside", |_| async { Ok::<(), Error>(()) }).await,
                ];
                for answer in answers {
                    assert!(matches!(answer, Err(Error::MemoryLost { .. })), "{answer:?}");
                    let text = "the database `main` was in memory, and was lost with its only connection";
                    assert_eq!(answer.unwrap_err().to_string(), text);
                }
            }
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            assert!(matches!(db.query("b", "SELECT 1", ()).await, Err(Error::Closed { .. })));
        };
        second.block_on(ended.in_context(context));
    }
    // Each is told once.
    let lost = |record: &testing::Record| record.message.contains("was in memory, and was lost");
    assert_eq!(kit.records_at(tracing::Level::ERROR).iter().filter(|record| lost(record)).count(), 2);
}

/// Others than `sqlite::memory:` were a number of databases, or one that went with its idle connections.
#[test]
fn in_memory_it_is_one_connection_however_it_is_written() {
    common::run(in_memory, async |own, setting| {
        for url in
            ["sqlite:shared?mode=memory", "sqlite:file::memory:", "sqlite:", "sqlite:/all?vfs=memdb&mode=rwc"]
        {
            let db = Database::builder(url).migrations(table()).idle_timeout(Duration::from_millis(1));
            let db = db.open().await.unwrap();
            db.execute("add", INSERT, ("alice",)).await.unwrap();
            for rows in join_all((0..3).map(|_| db.query("all", "SELECT * FROM users", ()))).await {
                assert_eq!(rows.unwrap().len(), 1, "{url}");
            }
            assert_eq!(db.open_connections(), 1, "{url}");
            let running = setting.test.supervisor().running();
            assert!(running.iter().all(|running| &*running.name != "close_idle_connections"), "{url}");
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
        }
        drop(own);
    });
}

/// A request that leaves while it waits for its turn to write takes nothing with it.
#[test]
fn who_leaves_the_line_of_writers_is_gone() {
    common::run(Own::sqlite, async |own, setting| {
        let db = &own.builder().migrations(table()).open().await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut stopped = Some(stopped);
        let holding = db.run_interaction("hold", |_| {
            let stopped = stopped.take().unwrap();
            async move {
                let _ = stopped.await;
                Ok::<(), Error>(())
            }
        });
        let leaving = async {
            until("held", || db.connections_in_use() == 1).await;
            for _ in 0..10 {
                let add = db.execute("add", INSERT, ("alice",));
                assert!(polled(1, add).await.is_none());
            }
            assert!(db.waiting().is_empty());
            stop.send(()).unwrap();
        };
        let (held, ()) = tokio::join!(holding, leaving);
        held.unwrap();
        db.execute("add", INSERT, ("alice",)).await.unwrap();
        assert_eq!(setting.context.usage().db_txn_count, 2);
        db.close(DEADLINE).await;
    });
}

#[test]
fn many_may_open_a_new_file_at_once() {
    common::run(Own::sqlite, async |own, _| {
        for round in 0..10 {
            let url = own.url.replace("test.db", &format!("{round}.db"));
            let all = join_all((0..8).map(|_| Database::builder(&*url).migrations(table()).open())).await;
            for db in all {
                assert_eq!(db.unwrap().close(DEADLINE).await.left_open, 0);
            }
        }
    });
}

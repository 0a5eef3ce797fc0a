//! What an interaction does, what it counts, and how often it is tried.

mod common;

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::figures::Figures;
use common::hold::Hold;
use common::outside::{Outside, polled, until};
use common::{DEADLINE, Own, on_both_databases};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext};
use logcontext_db::{Backend, Database, Error, Isolation, Migration};
use tracing::Level;

const COUNT: &str = "SELECT count(*) FROM users";
const INSERT: &str = "INSERT INTO users VALUES ($1, $2)";

fn table() -> [Migration; 1] {
    [Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY, age BIGINT NOT NULL)")]
}

async fn open(own: &Own) -> Database {
    own.builder().migrations(table()).open().await.unwrap()
}

on_both_databases! {
    async fn what_is_committed_is_seen_and_counted(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let changed = db
            .run_interaction("add_user", |mut txn| async move {
                assert_eq!(txn.name(), "add_user");
                txn.execute(INSERT, ("alice", 30_i64)).await
            })
            .await;
        assert_eq!(changed.unwrap(), 1);
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 1);
        let row = db.query_one("get_user", "SELECT age FROM users WHERE name = $1", ("alice",)).await.unwrap();
        assert_eq!(row.get::<i64>("age").unwrap(), 30);
        assert_eq!(setting.transactions(), 2);
        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_transactions", "transaction=add_user,outcome=committed"), 1.0);
        assert_eq!(figures.value("db_transactions", "transaction=get_user,outcome=committed"), 1.0);
        assert_eq!(figures.value("db_transaction_tries", "transaction=add_user"), 1.0);
        assert_eq!(figures.count("db_transaction_seconds", "transaction=add_user"), 1);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn what_fails_is_rolled_back_and_counted(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let failed: Result<(), Error> = db
            .run_interaction("add_user", |mut txn| async move {
                txn.execute(INSERT, ("alice", 30_i64)).await?;
                txn.execute("nonsense", ()).await?;
                Ok(())
            })
            .await;
        assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
        assert_eq!(setting.transactions(), 1);
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_transactions", "transaction=add_user,outcome=failed"), 1.0);
        assert_eq!(figures.value("db_transactions", "transaction=add_user"), 1.0);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_plain_statement_that_fails_is_counted(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        assert!(db.execute("typo", "SELEC 1", ()).await.is_err());
        assert!(db.query("typo", "SELEC 1", ()).await.is_err());
        assert_eq!(setting.transactions(), 2);
        assert_eq!(Figures::now(&setting).value("db_transactions", "transaction=typo,outcome=failed"), 2.0);
        db.close(DEADLINE).await;
    }

    async fn an_error_of_the_closures_own_rolls_back_and_comes_out_as_it_is(own: Own, setting: Setting<'_>) {
        #[derive(Debug)]
        enum Mine {
            TooYoung(i64),
            Database,
        }
        impl From<Error> for Mine {
            fn from(_: Error) -> Self {
                Self::Database
            }
        }
        let db = open(&own).await;
        let failed: Result<(), Mine> = db
            .run_interaction("add_user", |mut txn| async move {
                txn.execute(INSERT, ("alice", 3_i64)).await?;
                Err(Mine::TooYoung(3))
            })
            .await;
        assert!(matches!(failed, Err(Mine::TooYoung(3))), "{failed:?}");
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        assert_eq!(setting.transactions(), 1);
        db.close(DEADLINE).await;
    }

    async fn a_panic_is_rolled_back_counted_and_goes_on_to_the_caller(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        for at_once in [true, false] {
            let panicking = db.run_interaction("add_user", |mut txn| {
                assert!(!at_once, "no");
                async move {
                    txn.execute(INSERT, ("alice", 30_i64)).await?;
                    if at_once { Ok::<(), Error>(()) } else { panic!("no") }
                }
            });
            let mut panicking = Box::pin(panicking);
            let panic = std::future::poll_fn(|cx| match logcontext::catch_panic(|| panicking.as_mut().poll(cx)) {
                Ok(poll) => poll.map(|_| None),
                Err(panic) => std::task::Poll::Ready(Some(panic)),
            })
            .await;
            let mut panic = panic.expect("the panic goes on");
            assert_eq!(panic.message(), "no");
            assert!(!panic.is_reported(), "whoever answers for it reports it");
            panic.report();
        }
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        assert_eq!(setting.transactions(), 2);
        assert_eq!(Figures::now(&setting).value("db_transactions", "transaction=add_user,outcome=panicked"), 2.0);
        let logged = setting.test.records_at(Level::ERROR);
        assert_eq!(logged.iter().filter(|record| record.context == setting.context).count(), 2);
        assert_eq!(db.connections_in_use(), 0);
        db.close(DEADLINE).await;
    }

    async fn a_panic_of_which_nobody_hears_is_reported_here(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(table()).max_connections(1).open().await.unwrap();
        // Dropped at every stage; among them the one where it has panicked and is being rolled back.
        for n in 0.. {
            let panicked = &AtomicU32::new(0);
            let before = setting.test.records_at(Level::ERROR).len();
            let panicking = db.run_interaction("add_user", |mut txn| async move {
                txn.execute(INSERT, ("alice", 30_i64)).await?;
                panicked.fetch_add(1, SeqCst);
                if panicked.load(SeqCst) > 0 { panic!("no") } else { Ok::<(), Error>(()) }
            });
            let mut panicking = Box::pin(panicking);
            let caught = std::future::poll_fn(|cx| match logcontext::catch_panic(|| panicking.as_mut().poll(cx)) {
                Ok(poll) => poll.map(|_| None),
                Err(panic) => std::task::Poll::Ready(Some(panic)),
            });
            let caught = polled(n, caught).await;
            drop(panicking);
            until("idle", || db.connections_in_use() == 0).await;
            let reports = setting.test.records_at(Level::ERROR).len() - before;
            if caught.is_some() {
                assert_eq!(reports, 0, "it went on to the caller");
                break;
            }
            assert_eq!(reports, usize::try_from(panicked.load(SeqCst)).unwrap(), "after {n} polls");
        }
        let figures = Figures::now(&setting);
        assert!(figures.value("db_transactions", "outcome=panicked") >= 1.0);
        db.close(DEADLINE).await;
    }

    async fn what_is_cancelled_is_rolled_back_and_counted_once(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(table()).max_connections(1).open().await.unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let begun = Mutex::new(Some(begun));
        let endless = db.run_interaction("add_user", |mut txn| {
            let begun = begun.lock().unwrap().take();
            async move {
                txn.execute(INSERT, ("alice", 30_i64)).await?;
                begun.expect("one try").send(()).unwrap();
                std::future::pending::<Result<(), Error>>().await
            }
        });
        tokio::select! {
            _ = endless => unreachable!("it waits for ever"),
            heard = has_begun => heard.unwrap(),
        }
        until("idle", || db.connections_in_use() == 0).await;
        until("counted", || setting.transactions() == 1).await;
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 0);
        assert_eq!(Figures::now(&setting).value("db_transactions", "transaction=add_user,outcome=cancelled"), 1.0);
        db.execute("after", INSERT, ("alice", 30_i64)).await.unwrap();
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 1);
        db.close(DEADLINE).await;
    }

    async fn who_never_got_a_connection_made_no_transaction(own: Own, setting: Setting<'_>) {
        let db = own
            .builder()
            .migrations(table())
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(1))
            .open()
            .await
            .unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let refused: Result<(), Error> = db.run_interaction("refused", |_| async { Ok(()) }).await;
        held.end().await.unwrap();
        assert!(matches!(refused, Err(Error::AcquireTimeout { .. })), "{refused:?}");
        assert_eq!(setting.transactions(), 1);
        assert_eq!(Figures::now(&setting).value("db_transactions", "transaction=refused"), 0.0);
        db.close(DEADLINE).await;
    }

    async fn a_transaction_from_the_sentinel_raises_with_the_callers_line_once(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let begun = &Mutex::new(Some(begun));
        let line = async {
            let line = line!() + 1;
            let first = db.run_interaction("orphan", |mut txn| async move { txn.query("SELECT 1", ()).await });
            first.await.unwrap();
            let second = db.query("plain_orphan", "SELECT 1", ());
            second.await.unwrap();
            // Also one that is cancelled, and ended by nobody's follower.
            let third = db.run_interaction("cancelled_orphan", |mut txn| async move {
                txn.query("SELECT 1", ()).await?;
                begun.lock().unwrap().take().unwrap().send(()).unwrap();
                std::future::pending::<Result<(), Error>>().await
            });
            tokio::select! {
                _ = third => unreachable!("it waits for ever"),
                heard = has_begun => heard.unwrap(),
            }
            line
        }
        .in_context(LogContext::sentinel())
        .await;
        until("idle", || db.connections_in_use() == 0).await;
        let reports = setting.test.take(DiagnosticKind::TransactionFromSentinel);
        let seen: Vec<_> =
            reports.iter().map(|report| (report.origin.unwrap().line(), report.detail.clone().unwrap())).collect();
        assert_eq!(
            seen,
            [
                (line, "orphan".into()),
                (line + 2, "plain_orphan".into()),
                (line + 5, "cancelled_orphan".into()),
            ]
        );
        assert!(reports.iter().all(|report| report.origin.unwrap().file().ends_with("interactions.rs")));
        db.close(DEADLINE).await;
    }

    async fn a_transaction_that_only_reads_cannot_write(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        for _ in 0..3 {
            let refused = db
                .interaction("peek")
                .read_only()
                .run(|mut txn| async move { txn.execute(INSERT, ("alice", 30_i64)).await })
                .await;
            assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
            let rows = db
                .interaction("peek")
                .read_only()
                .run(|mut txn| async move { txn.query("SELECT * FROM users", ()).await })
                .await;
            assert!(rows.unwrap().is_empty());
        }
        db.execute("add_user", INSERT, ("alice", 30_i64)).await.unwrap();
        assert_eq!(setting.transactions(), 7);
        db.close(DEADLINE).await;
    }

    async fn each_isolation_level_is_had(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        for (level, name) in [
            (Isolation::ReadCommitted, "read committed"),
            (Isolation::RepeatableRead, "repeatable read"),
            (Isolation::Serializable, "serializable"),
        ] {
            for read_only in [false, true] {
                let mut interaction = db.interaction("levels").isolation(level);
                if read_only {
                    interaction = interaction.read_only();
                }
                let (found, writes) = interaction
                    .run(|mut txn| async move {
                        if txn.backend() == Backend::Sqlite {
                            return Ok::<_, Error>((name.to_owned(), !read_only));
                        }
                        let row = txn.query_one("SHOW transaction_isolation", ()).await?;
                        let writes = txn.query_one("SHOW transaction_read_only", ()).await?;
                        Ok((row.get::<String>(0)?, writes.get::<String>(0)? == "off"))
                    })
                    .await
                    .unwrap();
                assert_eq!((found.as_str(), writes), (name, !read_only));
            }
        }
        assert_eq!(setting.transactions(), 6);
        db.close(DEADLINE).await;
    }

    async fn a_slow_transaction_is_told_of_in_its_context(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(table()).slow_transaction(Duration::ZERO).open().await.unwrap();
        db.query("all", "SELECT * FROM users", ()).await.unwrap();
        let told = setting.test.records_at(Level::WARN);
        let told: Vec<_> = told.iter().filter(|record| record.context == setting.context).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].field("transaction"), Some("all"));
        db.close(DEADLINE).await;
    }
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn who_ignores_an_error_is_not_told_that_postgresql_committed() {
    common::run(Own::postgres, async |own, _| {
        let db = open(&own).await;
        let failed: Result<(), Error> = db
            .run_interaction("careless", |mut txn| async move {
                txn.execute(INSERT, ("alice", 30_i64)).await?;
                let _ = txn.execute("SELECT 1 / 0", ()).await;
                let _ = txn.execute("SELECT 1", ()).await;
                Ok(())
            })
            .await;
        let Err(Error::Failed { cause }) = failed else { panic!("{failed:?}") };
        assert!(cause.contains("division by zero"), "{cause}");
        let mut outside = Outside::open(&own).await;
        assert_eq!(outside.number(COUNT).await, 0);

        // Who knew that it might fail is fine.
        db.run_interaction("careful", |mut txn| async move {
            txn.execute(INSERT, ("alice", 30_i64)).await?;
            txn.execute("SAVEPOINT careful", ()).await?;
            assert!(txn.execute("SELECT 1 / 0", ()).await.is_err());
            txn.execute("ROLLBACK TO careful", ()).await?;
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
        assert_eq!(outside.number(COUNT).await, 1);
        outside.close().await;
        db.close(DEADLINE).await;
    });
}

/// What follows would be committed one by one, and could not be taken back.
#[test]
fn when_sqlite_has_rolled_back_by_itself_nothing_more_is_done() {
    common::run(Own::sqlite, async |own, setting| {
        let db = open(&own).await;
        db.execute("add_user", INSERT, ("alice", 30_i64)).await.unwrap();
        for ignored in [true, false] {
            let failed: Result<(), Error> = db
                .run_interaction("careless", |mut txn| async move {
                    txn.execute(INSERT, ("bob", 20_i64)).await?;
                    let lost = txn.execute("INSERT OR ROLLBACK INTO users VALUES ('alice', 1)", ()).await;
                    assert!(lost.unwrap_err().is_unique_violation());
                    let next = txn.execute(INSERT, ("carol", 10_i64)).await;
                    assert!(
                        matches!(&next, Err(Error::Failed { cause }) if cause.contains("UNIQUE")),
                        "{next:?}"
                    );
                    if ignored { Ok(()) } else { next.map(drop) }
                })
                .await;
            assert!(
                matches!(&failed, Err(Error::Failed { cause }) if cause.contains("UNIQUE")),
                "{failed:?}"
            );
            assert_eq!(Outside::open(&own).await.number(COUNT).await, 1);
        }
        // Its own doing, even.
        let failed: Result<(), Error> = db
            .run_interaction("careless", |mut txn| async move {
                txn.execute(INSERT, ("bob", 20_i64)).await?;
                txn.execute("ROLLBACK", ()).await?;
                txn.execute(INSERT, ("carol", 10_i64)).await.map(drop)
            })
            .await;
        assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 1);
        // And the connection is as good as ever; a failure that rolls nothing back can be ignored.
        db.run_interaction("careful", |mut txn| async move {
            assert!(txn.execute(INSERT, ("alice", 1_i64)).await.unwrap_err().is_unique_violation());
            txn.execute(INSERT, ("dave", 40_i64)).await
        })
        .await
        .unwrap();
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 2);
        assert_eq!(setting.transactions(), 5);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
fn a_commit_that_fails_rolls_back() {
    common::run(Own::sqlite, async |own, setting| {
        let db = own
            .builder()
            .migrations([Migration::new(
                1,
                "tables",
                "CREATE TABLE users (name TEXT PRIMARY KEY);
                 CREATE TABLE posts (name TEXT REFERENCES users DEFERRABLE INITIALLY DEFERRED)",
            )])
            .open()
            .await
            .unwrap();
        let failed = db
            .run_interaction("post", |mut txn| async move {
                txn.execute("INSERT INTO posts VALUES ('nobody')", ()).await
            })
            .await;
        assert!(failed.unwrap_err().to_string().contains("FOREIGN KEY"));
        assert_eq!(Outside::open(&own).await.number("SELECT count(*) FROM posts").await, 0);
        assert_eq!(Figures::now(&setting).value("db_transactions", "transaction=post,outcome=failed"), 1.0);
        db.execute("add", "INSERT INTO users VALUES ('alice')", ()).await.unwrap();
        db.close(DEADLINE).await;
    });
}

/// A `Txn` that is still there after its closure has returned gets an answer, and does nothing.
#[test]
fn a_txn_that_outlives_its_closure_is_told_so() {
    common::run(Own::sqlite, async |own, setting| {
        let db = open(&own).await;
        let smuggled = Arc::new(tokio::sync::Mutex::new(None));
        let kept = &smuggled;
        db.run_interaction("add_user", |mut txn| async move {
            txn.execute(INSERT, ("alice", 30_i64)).await?;
            *kept.lock().await = Some(txn);
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
        let mut txn = smuggled.lock().await.take().unwrap();
        let late = logcontext::run_in_background(async move {
            txn.after_commit(|| unreachable!("nobody commits it"));
            txn.on_failure(|| unreachable!("nothing fails"));
            txn.execute(INSERT, ("bob", 20_i64)).await
        });
        assert!(matches!(late.await.unwrap(), Err(Error::Over)));
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 1);
        assert_eq!(setting.transactions(), 1);
        db.close(DEADLINE).await;
    });
}

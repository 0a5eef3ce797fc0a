//! An interaction that others are in the way of is tried again, and is one transaction all the same.

mod common;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::asking::conflict;
use common::figures::Figures;
use common::outside::{Outside, until};
use common::{DEADLINE, Own, on_both_databases};
use logcontext_db::{Database, Error, Isolation, Migration};
use tokio::sync::Barrier;

const COUNT: &str = "SELECT count(*) FROM users";
const INSERT: &str = "INSERT INTO users VALUES ($1, $2)";

fn table() -> [Migration; 1] {
    [Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY, age BIGINT NOT NULL)")]
}

async fn open(own: &Own) -> Database {
    own.builder().migrations(table()).open().await.unwrap()
}

on_both_databases! {
    async fn a_conflict_is_tried_again_and_counted_once(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let tries = AtomicU32::new(0);
        let (own, tries) = (&own, &tries);
        let added: Result<u64, Error> = db
            .run_interaction("add_user", |mut txn| async move {
                let changed = txn.execute(INSERT, ("alice", 30_i64)).await?;
                if tries.fetch_add(1, SeqCst) < 2 {
                    conflict(&mut txn, own).await?;
                }
                Ok(changed)
            })
            .await;
        assert_eq!(added.unwrap(), 1);
        assert_eq!(tries.load(SeqCst), 3);
        assert_eq!(setting.transactions(), 1);
        assert_eq!(Outside::open(own).await.number(COUNT).await, 1);
        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_transactions", "transaction=add_user"), 1.0);
        assert_eq!(figures.value("db_transaction_tries", "transaction=add_user"), 3.0);
        assert_eq!(figures.count("db_transaction_seconds", "transaction=add_user"), 1);
        let told: Vec<_> = setting
            .test
            .records()
            .into_iter()
            .filter(|record| record.message.contains("trying again") && record.context == setting.context)
            .collect();
        let tries: Vec<_> = told.iter().map(|record| record.field("tries").unwrap().to_owned()).collect();
        assert_eq!(tries, ["1", "2"]);
        db.close(DEADLINE).await;
    }

    async fn after_the_last_try_the_closures_own_error_comes_out(own: Own, setting: Setting<'_>) {
        #[derive(Debug)]
        struct Mine(u32);
        impl From<Error> for Mine {
            fn from(_: Error) -> Self {
                Self(0)
            }
        }
        let db = own.builder().migrations(table()).max_tries(3).open().await.unwrap();
        let tries = AtomicU32::new(0);
        let (own, tries) = (&own, &tries);
        let failed: Result<(), Mine> = db
            .run_interaction("add_user", |mut txn| async move {
                txn.execute(INSERT, ("alice", 30_i64)).await?;
                let number = tries.fetch_add(1, SeqCst) + 1;
                conflict(&mut txn, own).await.map_err(|_| Mine(number))
            })
            .await;
        assert_eq!(failed.unwrap_err().0, 3);
        assert_eq!(tries.load(SeqCst), 3);
        assert_eq!(setting.transactions(), 1);
        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_transactions", "transaction=add_user,outcome=failed"), 1.0);
        assert_eq!(figures.value("db_transaction_tries", "transaction=add_user"), 3.0);

        let once: Result<(), Mine> = db
            .interaction("add_user")
            .max_tries(1)
            .run(|mut txn| async move {
                tries.fetch_add(1, SeqCst);
                conflict(&mut txn, own).await.map_err(|_| Mine(17))
            })
            .await;
        assert_eq!(once.unwrap_err().0, 17);
        assert_eq!(tries.load(SeqCst), 4);
        assert_eq!(Outside::open(own).await.number(COUNT).await, 0);
        db.close(DEADLINE).await;
    }

    async fn an_error_that_is_no_conflict_is_not_tried_again(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        db.execute("add_user", INSERT, ("alice", 30_i64)).await.unwrap();
        let tries = &AtomicU32::new(0);
        let failed = db
            .run_interaction("again", |mut txn| async move {
                tries.fetch_add(1, SeqCst);
                txn.execute(INSERT, ("alice", 30_i64)).await
            })
            .await;
        assert!(failed.unwrap_err().is_unique_violation());
        assert_eq!(tries.load(SeqCst), 1);
        assert_eq!(setting.transactions(), 2);
        db.close(DEADLINE).await;
    }
}

/// Two transactions that want what the other one has, in opposite order.
#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_deadlock_is_tried_again() {
    common::run(Own::postgres, async |own, setting| {
        let db = open(&own).await;
        Outside::open(&own).await.run("INSERT INTO users VALUES ('alice', 0), ('bob', 0)").await;
        let tries = &AtomicUsize::new(0);
        let both_have_one = &Barrier::new(2);
        let add = |first: &'static str, second: &'static str| {
            let mut met = false;
            let db = &db;
            async move {
                db.run_interaction("cross", |mut txn| {
                    let meet = !std::mem::replace(&mut met, true);
                    async move {
                        tries.fetch_add(1, SeqCst);
                        let update = "UPDATE users SET age = age + 1 WHERE name = $1";
                        txn.execute(update, (first,)).await?;
                        if meet {
                            both_have_one.wait().await;
                        }
                        txn.execute(update, (second,)).await
                    }
                })
                .await
            }
        };
        let (one, other) = tokio::join!(add("alice", "bob"), add("bob", "alice"));
        assert_eq!((one.unwrap(), other.unwrap()), (1, 1));
        assert_eq!(tries.load(SeqCst), 3, "one of them was tried again");
        assert_eq!(Outside::open(&own).await.number("SELECT sum(age)::bigint FROM users").await, 4);
        assert_eq!(setting.transactions(), 2);
        assert_eq!(Figures::now(&setting).value("db_transaction_tries", "transaction=cross"), 3.0);
        db.close(DEADLINE).await;
    });
}

/// Each has read what the other one changes: the second commit fails, or the statement before it.
#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_serialization_failure_is_tried_again_also_if_only_the_commit_finds_it() {
    common::run(Own::postgres, async |own, setting| {
        let db = open(&own).await;
        Outside::open(&own).await.run("INSERT INTO users VALUES ('alice', 1), ('bob', 1)").await;
        let tries = &AtomicUsize::new(0);
        let all_have_written = &Barrier::new(2);
        let give_up = |name: &'static str| {
            let mut met = false;
            let db = &db;
            async move {
                db.interaction("at_least_one")
                    .isolation(Isolation::Serializable)
                    .run(|mut txn| {
                        let meet = !std::mem::replace(&mut met, true);
                        async move {
                            tries.fetch_add(1, SeqCst);
                            let there = txn.query("SELECT name FROM users WHERE age > 0", ()).await?.len();
                            if there > 1 {
                                txn.execute("UPDATE users SET age = 0 WHERE name = $1", (name,)).await?;
                            }
                            if meet {
                                all_have_written.wait().await;
                            }
                            Ok::<_, Error>(())
                        }
                    })
                    .await
            }
        };
        let (one, other) = tokio::join!(give_up("alice"), give_up("bob"));
        one.unwrap();
        other.unwrap();
        assert_eq!(tries.load(SeqCst), 3);
        assert_eq!(Outside::open(&own).await.number("SELECT count(*) FROM users WHERE age > 0").await, 1);
        assert_eq!(setting.transactions(), 2);
        db.close(DEADLINE).await;
    });
}

/// The write lock belongs to somebody else, who gives it back after the second try.
#[test]
fn sqlite_busy_is_tried_again() {
    common::run(Own::sqlite, async |own, setting| {
        let db = own
            .builder()
            .migrations(table())
            .busy_timeout(Duration::from_millis(1))
            .max_tries(1_000)
            .open()
            .await;
        let db = db.unwrap();
        let mut outside = Outside::open(&own).await;
        outside.run("BEGIN IMMEDIATE").await;
        let adding =
            db.run_interaction(
                "add_user",
                |mut txn| async move { txn.execute(INSERT, ("alice", 30_i64)).await },
            );
        let releasing = async {
            let told =
                || setting.test.records().iter().filter(|r| r.message.contains("trying again")).count();
            let before = told();
            until("tried twice", || told() >= before + 2).await;
            outside.run("ROLLBACK").await;
        };
        let (added, ()) = tokio::join!(adding, releasing);
        assert_eq!(added.unwrap(), 1);
        assert_eq!(setting.transactions(), 1);
        assert!(Figures::now(&setting).value("db_transaction_tries", "transaction=add_user") >= 3.0);
        outside.close().await;
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
fn sqlite_busy_to_the_end_is_the_databases_error() {
    common::run(Own::sqlite, async |own, setting| {
        let db = own
            .builder()
            .migrations(table())
            .busy_timeout(Duration::from_millis(1))
            .max_tries(3)
            .open()
            .await;
        let db = db.unwrap();
        let mut outside = Outside::open(&own).await;
        outside.run("BEGIN IMMEDIATE").await;
        let called = &AtomicU32::new(0);
        let failed: Result<u64, Error> = db
            .run_interaction("add_user", |mut txn| async move {
                called.fetch_add(1, SeqCst);
                txn.execute(INSERT, ("alice", 30_i64)).await
            })
            .await;
        assert_eq!(called.load(SeqCst), 0, "whoever may write has the lock before anything else");
        let failed = failed.unwrap_err();
        assert!(failed.driver().unwrap().to_string().contains("database is locked"), "{failed}");
        assert_eq!(setting.transactions(), 1);
        assert_eq!(Figures::now(&setting).value("db_transaction_tries", "transaction=add_user"), 3.0);
        outside.run("ROLLBACK").await;
        outside.close().await;
        db.close(DEADLINE).await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn who_ignores_a_conflict_on_postgresql_is_tried_again() {
    common::run(Own::postgres, async |own, setting| {
        let db = open(&own).await;
        let tries = &AtomicU32::new(0);
        let own = &own;
        db.run_interaction("careless", |mut txn| async move {
            txn.execute(INSERT, ("alice", 30_i64)).await?;
            if tries.fetch_add(1, SeqCst) == 0 {
                let _ = conflict(&mut txn, own).await;
            }
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
        assert_eq!(tries.load(SeqCst), 2);
        assert_eq!(Outside::open(own).await.number(COUNT).await, 1);
        assert_eq!(setting.transactions(), 1);
        db.close(DEADLINE).await;
    });
}

//! A transaction inside of another one, on the same pool: it may wait for itself, and is told so.

mod common;

use common::figures::Figures;
use common::hold::{self, Hold};
use common::outside::until;
use common::{DEADLINE, Own, on_both_databases};
use logcontext::diagnostics::DiagnosticKind;
use logcontext_db::{Backend, Database, Error, Migration, Txn};

const ADD: &str = "INSERT INTO users VALUES ('alice')";

fn schema() -> [Migration; 1] {
    [Migration::new(1, "users", "CREATE TABLE users (name TEXT)")]
}

/// Runs this inside of an interaction that has a connection.
async fn inside<T>(db: &Database, then: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let then = &then;
    db.run_interaction("outer", |mut txn: Txn| async move {
        txn.query("SELECT 1", ()).await?;
        then().await
    })
    .await
}

/// Nobody waits.
#[track_caller]
fn assert_nested<T: std::fmt::Debug>(result: &Result<T, Error>, expected: &str) {
    let Err(Error::Nested { inner, outer: "outer", .. }) = result else { panic!("{result:?}") };
    assert_eq!(*inner, expected);
}

async fn count(db: &Database) -> i64 {
    db.query_one("count", "SELECT count(*) FROM users", ()).await.unwrap().get(0).unwrap()
}

on_both_databases! {
    async fn one_that_would_wait_for_itself_is_an_error_at_once(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(schema()).max_connections(1).open().await.unwrap();
        assert_nested(&inside(&db, async || db.execute("plain", ADD, ()).await).await, "plain");
        let interaction =
            async || db.run_interaction("deeper", |mut txn| async move { txn.execute(ADD, ()).await }).await;
        assert_nested(&inside(&db, interaction).await, "deeper");
        let reading = inside(&db, async || db.query("read", "SELECT * FROM users", ()).await).await;
        if own.backend == Backend::Sqlite {
            // That needs another connection, of which there are others.
            assert!(reading.unwrap().is_empty());
        } else {
            assert_nested(&reading, "read");
        }
        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_pool_acquire_timeouts", ""), 0.0);
        let error = inside(&db, async || db.execute("plain", ADD, ()).await).await.unwrap_err();
        assert!(error.to_string().contains("`plain` inside of the interaction `outer` would wait"), "{error}");
        // Whoever gets over it goes on in the transaction that there is.
        let over_it = inside(&db, async || {
            assert!(db.execute("plain", ADD, ()).await.is_err());
            Ok(())
        });
        over_it.await.unwrap();
        // Neither before it nor after it is it inside.
        db.execute("after", ADD, ()).await.unwrap();
        assert_eq!(count(&db).await, 1);
        assert!(setting.test.reports().is_empty());
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn one_that_may_have_to_wait_for_others_like_it_raises_a_diagnostic(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(schema()).max_connections(2).open().await.unwrap();
        let outer = db.interaction("outer").read_only();
        outer
            .run(|mut txn| {
                let db = &db;
                async move {
                    txn.query("SELECT 1", ()).await?;
                    db.query("plain", "SELECT 1", ()).await?;
                    let inner = db.interaction("deeper").read_only();
                    let deeper = inner.run(|mut txn| async move {
                        txn.query("SELECT 1", ()).await?;
                        // Both that there are.
                        db.query("deepest", "SELECT 1", ()).await.map(drop)
                    });
                    let error = deeper.await.unwrap_err();
                    assert!(
                        matches!(&error, Error::Nested { outer: "deeper", inner: "deepest", .. }),
                        "{error:?}"
                    );
                    Ok::<(), Error>(())
                }
            })
            .await
            .unwrap();
        let reports = setting.test.take(DiagnosticKind::TransactionInside);
        let details: Vec<_> = reports.iter().map(|report| report.detail.as_deref().unwrap()).collect();
        assert_eq!(details, ["`plain` inside of `outer`", "`deeper` inside of `outer`"]);
        for report in reports {
            assert_eq!(report.context, setting.context);
            assert!(report.origin.unwrap().file().ends_with("nested.rs"), "{report}");
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn who_is_beside_another_one_is_not_inside(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(schema()).max_connections(1).open().await.unwrap();
        // On one task, one after the other.
        let (one, other) = tokio::join!(
            db.run_interaction("one", |mut txn| async move { txn.execute(ADD, ()).await }),
            db.run_interaction("other", |mut txn| async move { txn.execute(ADD, ()).await }),
        );
        assert_eq!((one.unwrap(), other.unwrap()), (1, 1));
        // In another task, while that one waits.
        let held = Hold::begin(&db, &setting.context).await;
        let waiting = async { db.execute("waiting", ADD, ()).await };
        let release = async {
            until("it waits", || !db.waiting().is_empty()).await;
            held.end().await.unwrap();
        };
        let (waited, ()) = tokio::join!(waiting, release);
        waited.unwrap();
        // After a panic in it, nobody is inside any more.
        let mine = db.clone();
        let panicked = hold::run(&setting.context, async move {
            mine.run_interaction("panics", |_| async { if true { panic!("on purpose") } else { Ok::<(), Error>(()) } })
                .await
        });
        assert!(panicked.await.is_err());
        db.execute("after", ADD, ()).await.unwrap();
        assert_eq!(count(&db).await, 4);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }
}

/// Different databases, or SQLite's other pool, are nobody's to wait for.
#[test]
fn another_pool_is_not_the_same() {
    common::run(Own::sqlite, async |own, setting| {
        // Neither is full, so that it would be a diagnostic and no error.
        let db = own.builder().migrations(schema()).max_connections(2).open().await.unwrap();
        let other = Own::sqlite();
        let second = other.builder().name("second").migrations(schema()).open().await.unwrap();
        inside(&db, async || {
            db.query("read", "SELECT * FROM users", ()).await?;
            second.execute("write", ADD, ()).await
        })
        .await
        .unwrap();
        assert!(setting.test.reports().is_empty());
        for db in [db, second] {
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
        }
    });
}

/// In memory, all is one connection.
#[test]
fn in_memory_reading_inside_is_waiting_for_itself_too() {
    common::run(Own::sqlite, async |_own, _setting| {
        let db = Database::builder("sqlite::memory:").migrations(schema()).open().await.unwrap();
        let read = inside(&db, async || db.query("read", "SELECT * FROM users", ()).await).await;
        assert_nested(&read, "read");
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

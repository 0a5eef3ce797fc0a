//! The steps of a schema are applied once, in order, all of them or none.

mod common;

use common::outside::{Outside, polled};
use common::{DEADLINE, Own, on_both_databases};
use futures_util::future::join_all;
use logcontext_db::{Backend, Database, Error, Migration};

/// As if the steps were written for this: each can only be applied once, and after those before it.
fn steps() -> Vec<Migration> {
    vec![
        Migration::new(
            1,
            "users",
            "CREATE TABLE users (name TEXT PRIMARY KEY); INSERT INTO users VALUES ('first')",
        ),
        Migration::new(2, "age", "ALTER TABLE users ADD COLUMN age BIGINT"),
        Migration::new(10, "grow up", "UPDATE users SET age = 10"),
    ]
}

async fn open(own: &Own, steps: impl IntoIterator<Item = Migration>) -> Result<Database, Error> {
    own.builder().name("presence").migrations(steps).open().await
}

/// The message of the error with which it is not opened, and of what is behind that.
async fn refused(own: &Own, steps: impl IntoIterator<Item = Migration>) -> (String, String) {
    let error = open(own, steps).await.expect_err("it must not be opened");
    assert!(matches!(error, Error::Migration { .. }), "{error:?}");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    (error.to_string(), source)
}

async fn tables(own: &Own) -> i64 {
    let mut outside = Outside::open(own).await;
    let tables = outside
        .number(match own.backend {
            Backend::Sqlite => "SELECT count(*) FROM sqlite_schema WHERE type = 'table'",
            _ => "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
        })
        .await;
    outside.close().await;
    tables
}

async fn applied(own: &Own) -> i64 {
    let mut outside = Outside::open(own).await;
    let applied = outside.number("SELECT count(*) FROM _sqlx_migrations WHERE success").await;
    outside.close().await;
    applied
}

on_both_databases! {
    async fn they_are_applied_once_in_the_order_of_their_versions(own: Own, setting: Setting<'_>) {
        // However they are written down.
        let mut turned = steps();
        turned.reverse();
        let db = open(&own, turned).await.unwrap();
        let row = db.query_one("get", "SELECT name, age FROM users", ()).await.unwrap();
        assert_eq!((row.get::<&str>(0).unwrap(), row.get::<i64>(1).unwrap()), ("first", 10));
        db.execute("set", "UPDATE users SET age = 30", ()).await.unwrap();
        db.close(DEADLINE).await;
        assert_eq!(applied(&own).await, 3);

        // Once: the age is as it was left. And what is new is applied.
        let more = [Migration::new(11, "bob", "INSERT INTO users VALUES ('bob', 20)")];
        let db = open(&own, steps().into_iter().chain(more)).await.unwrap();
        let rows = db.query("get", "SELECT age FROM users ORDER BY age", ()).await.unwrap();
        let ages: Vec<i64> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(ages, [20, 30]);
        assert_eq!(setting.context.usage().db_txn_count, 3, "they are nobody's transactions");
        db.close(DEADLINE).await;
        assert_eq!(applied(&own).await, 4);
    }

    async fn each_database_has_its_own(own: Own, _setting: Setting<'_>) {
        let steps = [Migration::new(1, "which", "CREATE TABLE common (i BIGINT)")
            .sqlite("CREATE TABLE of_sqlite (i INTEGER)")
            .postgres("CREATE TABLE of_postgres (i BIGSERIAL)")];
        let db = open(&own, steps).await.unwrap();
        let sql = if own.backend == Backend::Sqlite { "SELECT * FROM of_sqlite" } else { "SELECT * FROM of_postgres" };
        assert!(db.query("which", sql, ()).await.unwrap().is_empty());
        assert!(db.query("which", "SELECT * FROM common", ()).await.is_err());
        db.close(DEADLINE).await;
    }

    async fn one_that_was_changed_is_refused(own: Own, _setting: Setting<'_>) {
        open(&own, steps()).await.unwrap().close(DEADLINE).await;
        let mut changed = steps();
        changed[1] = Migration::new(2, "age", "ALTER TABLE users ADD COLUMN age TEXT");
        let (error, _) = refused(&own, changed).await;
        assert!(error.starts_with("the migrations of the database `presence` failed: version 2 was changed"), "{error}");
        own.is_free().await;
        // Another name is no other step.
        let mut renamed = steps();
        renamed[1] = Migration::new(2, "ages", "ALTER TABLE users ADD COLUMN age BIGINT");
        open(&own, renamed).await.unwrap().close(DEADLINE).await;
    }

    async fn one_that_is_not_known_here_is_refused(own: Own, _setting: Setting<'_>) {
        open(&own, steps()).await.unwrap().close(DEADLINE).await;
        let (error, _) = refused(&own, steps().into_iter().take(2)).await;
        assert!(error.contains("version 10 was applied, but is not known here"), "{error}");
        own.is_free().await;
        // Who says nothing about steps wants none.
        open(&own, []).await.unwrap().close(DEADLINE).await;
        assert_eq!(applied(&own).await, 3);
    }

    async fn a_version_that_is_there_twice_is_refused(own: Own, _setting: Setting<'_>) {
        let twice = [Migration::new(2, "again", "CREATE TABLE again (i BIGINT)")];
        let (error, _) = refused(&own, steps().into_iter().chain(twice)).await;
        assert!(error.contains("version 2 is there twice"), "{error}");
        assert_eq!(tables(&own).await, 0);
        own.is_free().await;
    }

    async fn one_that_fails_leaves_nothing_behind(own: Own, _setting: Setting<'_>) {
        for wrong in ["CREATE TABLE more (i BIGINT); SELECT nonsense FROM users", "CREATE TABL more (i BIGINT)"] {
            let broken = [Migration::new(11, "broken", wrong)];
            let (error, source) = refused(&own, steps().into_iter().chain(broken)).await;
            assert_eq!(error, "the migrations of the database `presence` failed: version 11");
            assert!(source.contains("nonsense") || source.contains("syntax error"), "{source}");
            assert_eq!(tables(&own).await, 0, "not even those of the steps before it");
            own.is_free().await;
        }
        // On what was there, neither.
        open(&own, steps()).await.unwrap().close(DEADLINE).await;
        let more = [
            Migration::new(11, "fine", "CREATE TABLE fine (i BIGINT)"),
            Migration::new(12, "broken", "INSERT INTO users VALUES ('first', 1)"),
        ];
        let before = tables(&own).await;
        let (error, _) = refused(&own, steps().into_iter().chain(more)).await;
        assert!(error.ends_with("version 12"), "{error}");
        assert_eq!((tables(&own).await, applied(&own).await), (before, 3));
        own.is_free().await;
        open(&own, steps()).await.unwrap().close(DEADLINE).await;
    }

    async fn an_open_that_is_dropped_anywhere_has_applied_all_or_nothing(own: Own, _setting: Setting<'_>) {
        for n in 0.. {
            let opened = polled(n, open(&own, steps())).await;
            if opened.is_none() {
                let tables = tables(&own).await;
                assert!(matches!(tables, 0 | 2), "{tables} tables after {n} polls");
            }
            if let Some(db) = opened {
                db.unwrap().close(DEADLINE).await;
                break;
            }
        }
        assert_eq!(applied(&own).await, 3);
        // What was dropped closes behind itself.
        own.until_sessions("true", 0).await;
    }

    async fn many_that_open_it_at_once_apply_them_once(own: Own, _setting: Setting<'_>) {
        let all = join_all((0..6).map(|_| open(&own, steps()))).await;
        for db in all {
            assert_eq!(db.unwrap().close(DEADLINE).await.left_open, 0);
        }
        assert_eq!(applied(&own).await, 3);
        // One more, each time: now the table of those that were applied is there already.
        for more in 11..16 {
            let more = || {
                let step = |version| Migration::new(version, "more", format!("CREATE TABLE more_{version} (i INT)"));
                steps().into_iter().chain((11..=more).map(step))
            };
            for db in join_all((0..6).map(|_| open(&own, more()))).await {
                assert_eq!(db.unwrap().close(DEADLINE).await.left_open, 0);
            }
        }
        assert_eq!(applied(&own).await, 8);
        own.until_sessions("true", 0).await;
    }
}

/// Between giving back sqlx's own lock and the commit nobody may come in.
#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn postgresql_is_locked_until_they_are_committed() {
    common::run(Own::postgres, async |own, _| {
        let slow = || {
            [Migration::new(
                1,
                "whose commit takes its time",
                "CREATE TABLE slow (i INT);
                 CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS
                     'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END';
                 CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON slow
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nap();
                 INSERT INTO slow VALUES (1)",
            )]
        };
        for db in join_all((0..3).map(|_| open(&own, slow()))).await {
            assert_eq!(db.unwrap().close(DEADLINE).await.left_open, 0);
        }
        assert_eq!(applied(&own).await, 1);
    });
}

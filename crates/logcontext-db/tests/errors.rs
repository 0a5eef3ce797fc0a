//! An error says what kind it is: what a service needs to know to tell its clients.

mod common;

use std::time::Duration;

use common::hold::Hold;
use common::outside::Outside;
use common::{DEADLINE, Own, on_both_databases};
use logcontext_db::{AssertSqlSafe, Backend, Database, Error, Migration};

/// What an error says it is.
#[track_caller]
fn assert_kinds(error: &Error, expected: &[&str]) {
    let kinds = [
        ("unique", error.is_unique_violation()),
        ("foreign key", error.is_foreign_key_violation()),
        ("constraint", error.is_constraint_violation()),
        ("conflict", error.is_conflict()),
        ("timeout", error.is_timeout()),
        ("unavailable", error.is_unavailable()),
    ];
    let kinds: Vec<_> = kinds.into_iter().filter_map(|(name, is_so)| is_so.then_some(name)).collect();
    assert_eq!(kinds, expected, "{error:?}");
}

fn schema() -> [Migration; 2] {
    [
        Migration::new(
            1,
            "users",
            "CREATE TABLE users (name TEXT PRIMARY KEY, age BIGINT NOT NULL CHECK (age > 0))",
        ),
        Migration::new(2, "devices", "CREATE TABLE devices (owner TEXT REFERENCES users (name))"),
    ]
}

/// The same, as a plain statement and in an interaction.
async fn refused(db: &Database, sql: &str) -> [Error; 2] {
    let sql = sql.to_owned();
    let plain = db.execute("plain", AssertSqlSafe(sql.clone()), ()).await.unwrap_err();
    let inside = db.run_interaction("inside", |mut txn| {
        let sql = AssertSqlSafe(sql.clone());
        async move { txn.execute(sql, ()).await }
    });
    [plain, inside.await.unwrap_err()]
}

on_both_databases! {
    async fn what_breaks_a_rule_of_the_schema_says_which(own: Own, _setting: Setting<'_>) {
        let db = own.builder().migrations(schema()).open().await.unwrap();
        db.execute("add", "INSERT INTO users VALUES ('alice', 30)", ()).await.unwrap();
        db.execute("add", "INSERT INTO devices VALUES ('alice')", ()).await.unwrap();
        for (sql, kinds) in [
            ("INSERT INTO users VALUES ('alice', 31)", &["unique", "constraint"][..]),
            ("INSERT INTO devices VALUES ('bob')", &["foreign key", "constraint"]),
            ("DELETE FROM users", &["foreign key", "constraint"]),
            ("INSERT INTO users VALUES ('carol', 0)", &["constraint"]),
            ("INSERT INTO users VALUES ('carol', NULL)", &["constraint"]),
            ("INSERT INTO nowhere VALUES (1)", &[]),
            ("INSER", &[]),
        ] {
            for error in refused(&db, sql).await {
                assert_kinds(&error, kinds);
            }
        }
        // Told by the driver, and by none of us.
        let none = db.query_one("none", "SELECT name FROM users WHERE name = 'bob'", ()).await.unwrap_err();
        assert_kinds(&none, &[]);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_limit_says_whether_it_was_one_of_time(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(schema()).max_connections(1);
        // To open it takes as long as it takes.
        let db = db.acquire_timeout(Duration::from_millis(20)).connect_within(DEADLINE);
        let db = db.open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        for error in refused(&db, "DELETE FROM devices").await {
            assert!(matches!(error, Error::AcquireTimeout { .. }), "{error:?}");
            assert_kinds(&error, &["timeout", "unavailable"]);
        }
        held.end().await.unwrap();
        db.close(DEADLINE).await;
        for error in refused(&db, "DELETE FROM devices").await {
            assert!(matches!(error, Error::Closed { .. }), "{error:?}");
            assert_kinds(&error, &["unavailable"]);
        }

        let db = own.builder().max_connections(1).queue_limit(0).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        for error in refused(&db, "DELETE FROM devices").await {
            assert!(matches!(error, Error::QueueFull { .. }), "{error:?}");
            assert_kinds(&error, &["unavailable"]);
        }
        held.end().await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_statement_that_takes_too_long_is_a_timeout_and_no_fault_of_the_database(
        own: Own,
        _setting: Setting<'_>
    ) {
        let db = own.builder().statement_timeout(Duration::from_millis(20)).open().await.unwrap();
        let forever = match db.backend() {
            Backend::Sqlite => "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n",
            _ => "SELECT pg_sleep(600)",
        };
        for error in refused(&db, forever).await {
            assert!(matches!(error, Error::StatementTimeout { .. }), "{error:?}");
            assert_kinds(&error, &["timeout"]);
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn others_in_the_way_are_a_conflict(own: Own, _setting: Setting<'_>) {
        let db = own.builder().migrations(schema()).busy_timeout(Duration::ZERO).max_tries(2).open().await.unwrap();
        let mut other = Outside::open(&own).await;
        if own.backend == Backend::Sqlite {
            other.run("BEGIN IMMEDIATE").await;
            for error in refused(&db, "DELETE FROM devices").await {
                assert_kinds(&error, &["conflict", "unavailable"]);
            }
            other.run("ROLLBACK").await;
        } else {
            for code in ["40001", "40P01"] {
                let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$");
                for error in refused(&db, &sql).await {
                    assert_kinds(&error, &["conflict", "unavailable"]);
                }
            }
            // A lock is waited for, unless somebody says otherwise; it is no matter of trying again.
            other.run("BEGIN; LOCK TABLE users").await;
            let [_, error] = refused(&db, "LOCK TABLE users NOWAIT").await;
            assert_kinds(&error, &["unavailable"]);
        }
        other.close().await;
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_database_that_has_no_room_is_unavailable(own: Own, _setting: Setting<'_>) {
        let db = own.builder().migrations(schema()).open().await.unwrap();
        let no_room = if own.backend == Backend::Sqlite {
            // Of the connection that writes: there is one.
            db.run_interaction("limit", |mut txn| async move { txn.query("PRAGMA max_page_count = 1", ()).await })
                .await
                .unwrap();
            "INSERT INTO users SELECT hex(randomblob(100000)), 1"
        } else {
            "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END $$"
        };
        for error in refused(&db, no_room).await {
            assert_kinds(&error, &["unavailable"]);
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_connection_that_is_lost_is_unavailable() {
    common::run(Own::postgres, async |own, _setting| {
        let db = own.builder().open().await.unwrap();
        for error in refused(&db, "SELECT pg_terminate_backend(pg_backend_pid())").await {
            assert!(matches!(error, Error::ConnectionLost(_)), "{error:?}");
            assert_kinds(&error, &["unavailable"]);
        }
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    });
}

#[test]
fn who_cannot_connect_is_told_why() {
    common::run(Own::sqlite, async |own, _setting| {
        let error = Database::open(own.url.replace("?mode=rwc", "")).await.unwrap_err();
        assert_kinds(&error, &["unavailable"]);
        assert!(error.to_string().ends_with("(1 try): unable to open database file"), "{error}");
    });
}

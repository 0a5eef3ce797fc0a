//! Every connection that was opened is closed, on every way out; and the server sees it so.

mod common;

use std::time::Duration;

use common::figures::Figures;
use common::hold::{self, Hold};
use common::outside::{polled, until};
use common::{DEADLINE, Own, on_both_databases};
use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_db::{Backend, Database, Error, Migration};

const REAPER: &str = "close_idle_connections";

fn steps() -> [Migration; 2] {
    [
        Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY)"),
        Migration::new(2, "devices", "CREATE TABLE devices (name TEXT PRIMARY KEY)"),
    ]
}

fn forever(own: &Own) -> &'static str {
    match own.backend {
        Backend::Sqlite => {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
        }
        _ => "SELECT count(*) FROM pg_sleep(600)",
    }
}

/// Uses so many connections at once, and gives them back.
async fn use_connections(db: &Database, own: &Own, context: &LogContext, count: usize) {
    // SQLite has one that writes, and the others only read.
    if own.backend == Backend::Sqlite {
        let asking: Vec<_> = (0..count)
            .map(|_| {
                let db = db.clone();
                hold::run(context, async move { db.query("one", "SELECT 1", ()).await })
            })
            .collect();
        for asking in asking {
            hold::outcome(asking).await.unwrap();
        }
        return;
    }
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(Hold::begin(db, context).await);
    }
    for held in held {
        held.end().await.unwrap();
    }
}

/// Then nothing else has moved since the last await.
fn is_on_one_thread() -> bool {
    tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread
}

fn reapers(supervisor: &Supervisor) -> usize {
    supervisor.running().iter().filter(|running| &*running.name == REAPER).count()
}

on_both_databases! {
    async fn close_closes_what_is_idle(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(steps()).open().await.unwrap();
        use_connections(&db, &own, &setting.context, 3).await;
        assert!(own.sessions("true").await > 1);
        assert_eq!(reapers(setting.test.supervisor()), 1);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
        assert_eq!(db.open_connections(), 0);
        until("the process has ended", || reapers(setting.test.supervisor()) == 0).await;
        // Once more does no harm.
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn many_that_are_closed_at_once_are_closed_in_good_order(own: Own, setting: Setting<'_>) {
        for _ in 0..10 {
            let db = own.builder().migrations(steps()).open().await.unwrap();
            use_connections(&db, &own, &setting.context, 10).await;
            db.execute("add", "INSERT INTO users VALUES ('alice') ON CONFLICT DO NOTHING", ()).await.unwrap();
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            own.is_free().await;
        }
    }

    async fn after_that_every_call_says_so(own: Own, setting: Setting<'_>) {
        let db = own.builder().open().await.unwrap();
        db.close(DEADLINE).await;
        let errors = [
            db.query("a", "SELECT 1", ()).await.map(drop).unwrap_err(),
            db.query_optional("b", "SELECT 1", ()).await.map(drop).unwrap_err(),
            db.query_one("c", "SELECT 1", ()).await.map(drop).unwrap_err(),
            db.execute("d", "SELECT 1", ()).await.map(drop).unwrap_err(),
            db.run_interaction("e", |_| async { Ok::<(), Error>(()) }).await.unwrap_err(),
            db.interaction("f").read_only().run(|_| async { Ok::<(), Error>(()) }).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::Closed { .. }), "{error:?}");
            assert_eq!(error.to_string(), "the database `main` is closed");
        }
        assert_eq!(Figures::now(&setting).value("db_pool_refused", "reason=closed"), 6.0);
        assert_eq!(setting.context.usage().db_txn_count, 0);
        own.is_free().await;
    }

    async fn what_is_in_use_is_closed_when_it_is_given_back(own: Own, setting: Setting<'_>) {
        let db = own.builder().max_connections(1).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let mine = db.clone();
        let waiting = hold::run(&setting.context, async move {
            mine.run_interaction("late", |_| async { Ok::<(), Error>(()) }).await
        });
        until("somebody waits", || db.waiting().len() == 1).await;

        // At the deadline it says what is left.
        assert_eq!(db.close(Duration::from_millis(20)).await.left_open, 1);
        let refused = hold::outcome(waiting).await.unwrap_err();
        assert!(matches!(refused, Error::Closed { .. }), "{refused:?}");
        assert!(own.sessions("true").await > 0);
        let mut closing = Box::pin(db.close(DEADLINE));
        assert!(polled(1, &mut closing).await.is_none(), "closed while it is in use");
        // What was begun is ended as it should be.
        held.end().await.unwrap();
        assert_eq!(closing.await.left_open, 0);
        own.is_free().await;
    }

    async fn a_connection_that_comes_back_while_the_pool_closes_is_closed_too(own: Own, setting: Setting<'_>) {
        for _ in 0..50 {
            let db = own.builder().max_connections(4).open().await.unwrap();
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    let db = db.clone();
                    hold::run(&setting.context, async move { db.query("one", "SELECT 1", ()).await })
                })
                .collect();
            tokio::task::yield_now().await;
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            if own.backend == Backend::Sqlite {
                own.is_free().await;
            }
            for asking in asking {
                let result = hold::outcome(asking).await;
                assert!(matches!(result, Ok(_) | Err(Error::Closed { .. })), "{result:?}");
            }
        }
        own.is_free().await;
    }

    async fn what_a_shutdown_has_cut_off_is_ended_and_closed(own: Own, setting: Setting<'_>) {
        // One that may be shut down.
        let service = Supervisor::new("service");
        let context = service.context("GET-2").start();
        let db = own.builder().open().in_context(context.clone()).await.unwrap();
        let (mine, statement) = (db.clone(), forever(&own));
        let plain = hold::run(&context, async move { mine.query("plain", statement, ()).await.map(drop) });
        let mine = db.clone();
        let inside = hold::run(&context, async move {
            let run = mine.run_interaction("inside", |mut txn| async move {
                txn.query(statement, ()).await.map(drop)
            });
            run.await
        });
        let in_use = if own.backend == Backend::Sqlite { "true" } else { "query like '%sleep%' and state = 'active'" };
        until("both have a connection", || db.connections_in_use() == 2).await;
        if own.backend == Backend::Postgres {
            own.until_sessions(in_use, 2).await;
        }
        let shutdown = service.shutdown(Duration::from_millis(20)).await;
        assert!(shutdown.aborted.len() >= 2, "{shutdown:?}");
        assert!(plain.await.is_err() && inside.await.is_err());
        assert_eq!(reapers(&service), 0);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
        drop(setting);
    }

    async fn a_migration_that_fails_leaves_nothing_open(own: Own, _setting: Setting<'_>) {
        let broken = [Migration::new(1, "users", "CREATE TABLE users (name TEXT)"), Migration::new(2, "typo", "CREAT")];
        let error = own.builder().migrations(broken).open().await.unwrap_err();
        assert!(matches!(error, Error::Migration { .. }), "{error:?}");
        own.is_free().await;
        // And nothing that keeps others from doing it right.
        let db = own.builder().migrations(steps()).open().await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
    }

    async fn an_open_that_is_dropped_at_any_moment_leaves_nothing_open(own: Own, setting: Setting<'_>) {
        for polls in 1..2_000 {
            let opened = polled(polls, own.builder().migrations(steps()).open()).await;
            let Some(db) = opened else {
                if own.backend == Backend::Sqlite || polls % 10 == 1 {
                    own.until_sessions("true", 0).await;
                }
                continue;
            };
            assert_eq!(db.unwrap().close(DEADLINE).await.left_open, 0);
            own.is_free().await;
            until("nothing runs", || setting.test.supervisor().running().is_empty()).await;
            return;
        }
        panic!("it is never opened");
    }

    async fn a_connection_that_nobody_waits_for_any_more_is_closed_too(own: Own, _setting: Setting<'_>) {
        for polls in 1..30 {
            let db = own.builder().open().await.unwrap();
            // SQLite opens its first one for reading here.
            let answered = polled(polls, db.query("one", "SELECT 1", ())).await;
            if own.backend == Backend::Sqlite && polls == 1 && is_on_one_thread() {
                // Its thread goes on opening the file, and that is known.
                assert_eq!(db.open_connections(), 2);
            }
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            if own.backend == Backend::Sqlite || answered.is_some() {
                own.is_free().await;
            }
            if answered.is_some() {
                return;
            }
        }
    }

    async fn a_handle_that_is_dropped_closes_it_too(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(steps()).open().await.unwrap();
        use_connections(&db, &own, &setting.context, 3).await;
        let held = Hold::begin(&db, &setting.context).await;
        drop(db);
        // Whoever holds a connection has a handle as well: that is the last one.
        held.end().await.unwrap();
        own.until_sessions("true", 0).await;
        own.is_free().await;
        until("the process has ended", || reapers(setting.test.supervisor()) == 0).await;
    }

    async fn idle_connections_are_closed_by_a_process(own: Own, setting: Setting<'_>) {
        let db = own.builder().idle_timeout(Duration::from_millis(100)).open().await.unwrap();
        for _ in 0..2 {
            use_connections(&db, &own, &setting.context, 8).await;
            until("all are closed", || db.open_connections() == 0).await;
            own.is_free().await;
        }
        // It comes again when it is needed, and one that is in use is not idle: it stays when those are closed that
        // were idle for a shorter time.
        let held = Hold::begin(&db, &setting.context).await;
        use_connections(&db, &own, &setting.context, 3).await;
        assert!(db.open_connections() > 1);
        until("the others are closed", || db.open_connections() == 1).await;
        assert_eq!(db.connections_in_use(), 1);
        held.end().await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        own.is_free().await;
    }

    async fn a_runtime_that_ends_first_is_survived(own: Own, setting: Setting<'_>) {
        let (url, statement) = (own.url.clone(), forever(&own));
        // Elsewhere, for a runtime cannot be dropped in another one.
        let supervisor = setting.test.supervisor().clone();
        let start = setting.test.thread_start();
        let ended = logcontext::spawn_blocking(move || {
            for one_thread in [true, false] {
                let mut builder = if one_thread {
                    tokio::runtime::Builder::new_current_thread()
                } else {
                    tokio::runtime::Builder::new_multi_thread()
                };
                let runtime = builder.enable_all().on_thread_start(start.clone()).build().unwrap();
                let context = supervisor.context("GET-3").start();
                let db = LogContext::sentinel().scope(|| {
                    runtime.block_on(
                        async {
                            let db = Database::open(url.clone()).await.unwrap();
                            let (mine, other) = (db.clone(), db.clone());
                            drop(hold::run(&context, async move { mine.query("plain", statement, ()).await.map(drop) }));
                            drop(hold::run(&context, async move {
                                let run = other.run_interaction("inside", |mut txn| async move {
                                    txn.query(statement, ()).await.map(drop)
                                });
                                run.await
                            }));
                            until("both are running", || db.connections_in_use() == 2).await;
                            db
                        }
                        .in_context(context.clone()),
                    )
                });
                LogContext::sentinel().scope(|| drop(runtime));
                assert_eq!(db.connections_in_use(), 0);
                drop(db);
            }
        });
        ended.await.unwrap();
        if own.backend == Backend::Sqlite {
            own.until_sessions("true", 0).await;
            own.is_free().await;
        }
    }
}

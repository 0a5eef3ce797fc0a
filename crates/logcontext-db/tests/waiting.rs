//! Waiting for a connection: what counts as that, who sees it, and where it ends.

mod common;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use common::asking::{trivial, wait};
use common::figures::Figures;
use common::hold::{self, Hold};
use common::outside::until;
use common::{DEADLINE, Own, on_both_databases};
use logcontext::LogContext;
use logcontext_db::{Backend, Database, DatabaseBuilder, Error};
use tracing::Level;

/// How long somebody waits, where that counts.
const HELD: Duration = Duration::from_millis(200);

fn one_connection(own: &Own) -> DatabaseBuilder {
    own.builder().max_connections(1)
}

/// Somebody who waits in the background, seen waiting.
async fn waiter(db: &Database, context: &LogContext) -> logcontext::Background<Vec<Result<(), Error>>> {
    let (mine, before) = (db.clone(), db.waiting().len());
    let running = hold::run(context, async move { trivial(&mine).await });
    until("somebody waits", || db.waiting().len() > before).await;
    running
}

/// Polls it once.
async fn is_pending(mut future: Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

on_both_databases! {
    async fn a_wait_is_recorded_apart_from_the_transaction(own: Own, setting: Setting<'_>) {
        let db = one_connection(&own).open().await.unwrap();
        let (holder, lookup) = (setting.context.nested("holder"), setting.context.nested("lookup"));
        let before = wait(&setting.context);
        let held = Hold::begin(&db, &holder).await;
        let waiting = waiter(&db, &lookup).await;
        let seen = Instant::now();
        tokio::time::sleep(HELD).await;
        let (waited, released) = (seen.elapsed(), Instant::now());
        held.end().await.unwrap();
        hold::outcome(waiting).await.unwrap();

        let usage = lookup.usage();
        assert!(wait(&lookup) >= waited, "{usage:?}");
        assert!(usage.db_txn_duration <= released.elapsed(), "{usage:?}");
        assert_eq!(usage.db_txn_count, 1);
        let holders = holder.usage();
        assert_eq!(wait(&holder), Duration::ZERO);
        assert!(holders.db_txn_duration >= waited, "{holders:?}");
        // What a nested context has waited, its parents have.
        assert_eq!(wait(&setting.context) - before, wait(&lookup));
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn who_waits_is_listed_in_order_and_served_in_order(own: Own, setting: Setting<'_>) {
        let db = one_connection(&own).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut running = Vec::new();
        for i in 0..5 {
            let context = setting.context.nested(&format!("part-{i}"));
            let (mine, served) = (db.clone(), Arc::clone(&served));
            running.push(hold::run(&context, async move {
                mine.run_interaction("note", |mut txn| {
                    served.lock().unwrap().push(i);
                    async move { txn.query("SELECT 1", ()).await.map(drop) }
                })
                .await
            }));
            until("one more waits", || db.waiting().len() == i + 1).await;
        }
        let waiting = db.waiting();
        let names: Vec<_> = waiting.iter().map(|waiting| waiting.context.name().to_owned()).collect();
        assert_eq!(names, ["GET-1-part-0", "GET-1-part-1", "GET-1-part-2", "GET-1-part-3", "GET-1-part-4"]);
        assert!(waiting.is_sorted_by_key(|waiting| waiting.since));
        assert!(waiting.iter().all(|waiting| waiting.transaction == "note" && waiting.since >= held.since));
        let pool = if own.backend == Backend::Sqlite { "writer" } else { "all" };
        assert!(waiting.iter().all(|waiting| &*waiting.pool == pool && &*waiting.database == "main"));
        let labels = format!("database=main,pool={pool}");
        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_pool_waiting", &labels), 5.0);
        assert!(figures.value("db_pool_waiting_longest_seconds", &labels) > 0.0);
        assert_eq!(figures.value("db_pool_connections", &format!("{labels},state=in_use")), 1.0);
        assert_eq!(figures.value("db_pool_connections", &format!("{labels},state=idle")), 0.0);
        assert_eq!(db.connections_in_use(), 1);

        held.end().await.unwrap();
        for running in running {
            hold::outcome(running).await.unwrap();
        }
        assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3, 4]);
        assert!(db.waiting().is_empty());
        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_pool_waiting", &labels), 0.0);
        assert_eq!(figures.value("db_pool_waiting_longest_seconds", &labels), 0.0);
        assert_eq!(figures.value("db_pool_connections", &format!("{labels},state=idle")), 1.0);
        // Opened, held, and five: those who need not wait are in it as well.
        assert_eq!(figures.count("db_pool_wait_seconds", &labels), 7);
        assert_eq!(figures.count("db_pool_connect_seconds", &labels), 1);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn who_gives_up_has_waited_as_well(own: Own, setting: Setting<'_>) {
        let limit = Duration::from_millis(100);
        let db = one_connection(&own).acquire_timeout(limit).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let late = setting.context.nested("late");
        let error = hold::outcome(waiter(&db, &late).await).await.unwrap_err();
        assert!(matches!(error, Error::AcquireTimeout { .. }), "{error}");
        assert!(error.to_string().ends_with("became free within 100ms: the acquire timeout"), "{error}");
        // Its clock began with the asking, a little before the waiting.
        assert!(wait(&late) >= limit / 2);
        assert_eq!(late.usage().db_txn_duration, Duration::ZERO);

        let gone = setting.context.nested("gone");
        let waiting = waiter(&db, &gone).await;
        let seen = Instant::now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let waited = seen.elapsed();
        waiting.abort();
        assert!(waiting.await.is_err());
        assert!(wait(&gone) >= waited);
        assert!(db.waiting().is_empty());

        let figures = Figures::now(&setting);
        assert_eq!(figures.value("db_pool_acquire_timeouts", ""), 1.0);
        assert_eq!(figures.value("db_pool_waiting", ""), 0.0);
        held.end().await.unwrap();
        trivial(&db).await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn a_place_that_nobody_takes_any_more_goes_to_the_next(own: Own, setting: Setting<'_>) {
        let db = one_connection(&own).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let (mut first, mut second) = (Box::pin(trivial(&db)), Box::pin(trivial(&db)));
        assert!(is_pending(first.as_mut()).await);
        assert!(is_pending(second.as_mut()).await);
        assert_eq!(db.waiting().len(), 2);
        held.end().await.unwrap();
        // It was this one's turn.
        drop(first);
        second.await.unwrap();
        assert!(db.waiting().is_empty());
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn whose_turn_comes_as_the_database_closes_is_refused(own: Own, setting: Setting<'_>) {
        let db = one_connection(&own).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let mut first = Box::pin(trivial(&db));
        assert!(is_pending(first.as_mut()).await);
        held.end().await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
        let error = first.await.unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error}");
        assert_eq!(db.open_connections(), 0);
    }

    async fn a_full_queue_lets_nobody_in(own: Own, setting: Setting<'_>) {
        let db = one_connection(&own).queue_limit(2).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let waiting = [waiter(&db, &setting.context).await, waiter(&db, &setting.context).await];
        let error = trivial(&db).await.unwrap_err();
        assert!(matches!(error, Error::QueueFull { limit: 2, .. }), "{error}");
        assert!(error.to_string().starts_with("2 others wait for a connection of pool"), "{error}");
        assert_eq!(Figures::now(&setting).value("db_pool_refused", "reason=queue_full"), 1.0);
        held.end().await.unwrap();
        for waiting in waiting {
            hold::outcome(waiting).await.unwrap();
        }
        // There is room again.
        let held = Hold::begin(&db, &setting.context).await;
        let waiting = waiter(&db, &setting.context).await;
        held.end().await.unwrap();
        hold::outcome(waiting).await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn what_takes_long_is_logged_once_in_its_context(own: Own, setting: Setting<'_>) {
        let limit = Duration::from_millis(50);
        let never = Duration::from_secs(3600);
        let before = setting.test.records_at(Level::WARN).len();
        let db = one_connection(&own).slow_wait(limit).slow_transaction(limit).open().await.unwrap();
        let patient = one_connection(&own).name("patient").slow_wait(never).slow_transaction(never);
        let patient = patient.open().await.unwrap();
        for db in [&db, &patient] {
            let (holder, lookup) = (setting.context.nested("holder"), setting.context.nested("lookup"));
            let held = Hold::begin(db, &holder).await;
            let waiting = waiter(db, &lookup).await;
            tokio::time::sleep(2 * limit).await;
            held.end().await.unwrap();
            hold::outcome(waiting).await.unwrap();
        }
        let warnings = setting.test.records_at(Level::WARN).split_off(before);
        let waits: Vec<_> = warnings.iter().filter(|warning| warning.message.contains("waited")).collect();
        assert_eq!(waits.len(), 1, "{warnings:?}");
        assert_eq!(waits[0].context.name(), "GET-1-lookup");
        assert_eq!(waits[0].field("transaction"), Some("trivial"));
        assert_eq!(waits[0].field("database"), Some("main"));
        let slow: Vec<_> = warnings.iter().filter(|warning| warning.message.contains("slow")).collect();
        let held: Vec<_> = slow.iter().filter(|warning| warning.field("transaction") == Some("hold")).collect();
        assert_eq!(held.len(), 1, "{warnings:?}");
        assert_eq!(held[0].context.name(), "GET-1-holder");
        for db in [db, patient] {
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
        }
    }

    async fn a_statement_that_takes_too_long_says_so(own: Own, setting: Setting<'_>) {
        let db = own.builder().statement_timeout(Duration::from_millis(50)).open().await.unwrap();
        let forever = match own.backend {
            Backend::Sqlite => "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n",
            _ => "SELECT count(*) FROM pg_sleep(600)",
        };
        let error = db.query("forever", forever, ()).await.unwrap_err();
        assert!(matches!(error, Error::StatementTimeout { .. }), "{error:?}");
        assert_eq!(error.to_string(), "a statement was cancelled after 50ms: the statement timeout");
        assert_eq!(Figures::now(&setting).value("db_statement_timeouts", ""), 1.0);
        // The connection is as good as before.
        let opened = Figures::now(&setting).count("db_pool_connect_seconds", "");
        db.query("quick", "SELECT 1", ()).await.unwrap();
        assert_eq!(Figures::now(&setting).count("db_pool_connect_seconds", ""), opened);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn limits_that_nobody_reaches_do_no_harm(own: Own, setting: Setting<'_>) {
        let db = own.builder().max_connections(usize::MAX).queue_limit(usize::MAX).max_tries(u32::MAX);
        let db = db.acquire_timeout(Duration::MAX).statement_timeout(Duration::MAX).idle_timeout(Duration::MAX);
        let db = db.slow_wait(Duration::MAX).slow_transaction(Duration::MAX).connect_within(Duration::MAX);
        let db = db.busy_timeout(Duration::MAX).open().await.unwrap();
        trivial(&db).await.unwrap();
        db.query("one", "SELECT 1", ()).await.unwrap();
        assert_eq!(db.close(Duration::MAX).await.left_open, 0);

        let db = own.builder().max_connections(0).queue_limit(0).max_tries(0).connect_within(DEADLINE);
        let db = db.slow_wait(Duration::ZERO).idle_timeout(Duration::ZERO).open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        let error = trivial(&db).await.unwrap_err();
        assert!(matches!(error, Error::QueueFull { limit: 0, .. }), "{error}");
        held.end().await.unwrap();
        trivial(&db).await.unwrap();
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }
}

//! The CPU that SQLite burns on its driver's threads is charged to whoever asked for it, once. Compared with the clocks
//! of these threads, so only one test at a time may use SQLite here.
#![cfg(target_os = "linux")]

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::outside::until;
use common::{DEADLINE, Own, drivers};
use logcontext::{FutureExt, LogContext, Supervisor, current_context};
use logcontext_db::{Database, Error, Migration};
use logcontext_tracing::ContextSpans;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use tracing::instrument::WithSubscriber as _;
use tracing::{Dispatch, Instrument as _, info_span};
use tracing_subscriber::prelude::*;

/// Takes some 50 ms of CPU, and answers one row.
const HEAVY: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
                     SELECT count(*) FROM n";

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtimes() -> [Runtime; 2] {
    let mut workers = Builder::new_multi_thread();
    workers.worker_threads(2);
    [Builder::new_current_thread(), workers].map(|mut builder| builder.enable_all().build().unwrap())
}

/// What the threads of SQLite's driver have burned: those that live, so connections must stay open.
fn cpu_of_drivers() -> Duration {
    drivers::cpu().values().sum()
}

fn cpu(context: &LogContext) -> Duration {
    context.usage().cpu().expect("measured on Linux")
}

/// At least 95 % of it, and not much more: the context's own part in the asking is small.
#[track_caller]
fn assert_charged(charged: Duration, burned: Duration) {
    assert!(burned > Duration::from_millis(20), "the statement is too light to compare: {burned:?}");
    assert!(charged >= burned.mul_f64(0.95), "{charged:?} of {burned:?}");
    assert!(charged <= burned.mul_f64(1.2), "{charged:?} for {burned:?}");
}

async fn open(own: &Own) -> Database {
    let db =
        own.builder().migrations([Migration::new(1, "t", "CREATE TABLE t (i BIGINT)")]).open().await.unwrap();
    // All connections that are needed are there from here on.
    db.query("warm", "SELECT 1", ()).await.unwrap();
    db
}

/// Runs it in a request on a database of its own, on both runtimes.
fn run(test: impl AsyncFn(Database, LogContext)) {
    let _alone = alone();
    for runtime in runtimes() {
        let supervisor = Supervisor::new("test");
        let own = Own::sqlite();
        let opener = LogContext::builder("open").supervisor(&supervisor).start();
        let request = LogContext::builder("GET-17").supervisor(&supervisor).start();
        runtime.block_on(async {
            let db = open(&own).in_context(opener.clone()).await;
            test(db.clone(), request.clone()).in_context(request.clone()).await;
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
        });
        let books = logcontext::books().expect("measured on Linux");
        assert!(books.discrepancy_percent().abs() < 1.0, "{books}");
        // Held by the driver's own clock as well: charging it is no reason to be short of it elsewhere.
        assert!(books.charged_by_adapters() <= books.contexts(), "{books}");
    }
}

#[test]
fn a_plain_statement() {
    run(async |db, request| {
        for _ in 0..3 {
            let (before, burned) = (cpu(&request), cpu_of_drivers());
            db.query("heavy", HEAVY, ()).await.unwrap();
            assert_charged(cpu(&request) - before, cpu_of_drivers() - burned);
            let (before, burned) = (cpu(&request), cpu_of_drivers());
            db.query_optional("heavy", HEAVY, ()).await.unwrap();
            assert_charged(cpu(&request) - before, cpu_of_drivers() - burned);
        }
    });
}

#[test]
fn an_interaction() {
    run(async |db, request| {
        let (before, burned) = (cpu(&request), cpu_of_drivers());
        db.run_interaction("heavy", |mut txn| async move {
            txn.query(HEAVY, ()).await?;
            txn.execute_script("INSERT INTO t SELECT 1").await?;
            txn.query_one(HEAVY, ()).await
        })
        .await
        .unwrap();
        assert_charged(cpu(&request) - before, cpu_of_drivers() - burned);
    });
}

#[test]
fn requests_at_once_pay_for_their_own() {
    run(async |db, request| {
        let [one, other, light] = ["one", "other", "light"]
            .map(|name| LogContext::builder(name).supervisor(&request.supervisor()).start());
        let burned = cpu_of_drivers();
        let ask = async |times: usize, sql: &'static str| {
            for _ in 0..times {
                db.query("ask", sql, ()).await.unwrap();
            }
        };
        tokio::join!(
            ask(1, HEAVY).in_context(one.clone()),
            ask(3, HEAVY).in_context(other.clone()),
            ask(3, "SELECT 1").in_context(light.clone()),
        );
        let burned = cpu_of_drivers() - burned;
        assert_charged(cpu(&one) + cpu(&other), burned);
        assert!(cpu(&light) < burned / 20, "{:?} of {burned:?}", cpu(&light));
    });
}

/// Each keeps its connection, and thereby a thread of the driver's, whose clock tells what it has to pay.
#[test]
fn two_interactions_at_once_pay_for_their_own_thread() {
    run(async |db, request| {
        let both = Barrier::new(2);
        let both_have_one = &both;
        let heavy = async |times: usize| {
            let interaction = db.interaction("heavy").read_only().run(|mut txn| async move {
                txn.query("SELECT 1", ()).await?;
                both_have_one.wait().await;
                for _ in 0..times {
                    txn.query(HEAVY, ()).await?;
                }
                Ok::<_, Error>(())
            });
            interaction.await.unwrap();
        };
        // Opens the connections.
        tokio::join!(heavy(0), heavy(0));
        let [one, other] =
            ["one", "other"].map(|name| LogContext::builder(name).supervisor(&request.supervisor()).start());
        let before = drivers::cpu();
        tokio::join!(heavy(1).in_context(one.clone()), heavy(3).in_context(other.clone()));
        let burned = drivers::cpu().into_iter().map(|(thread, cpu)| cpu - before[&thread]);
        let mut burned: Vec<_> = burned.collect();
        burned.sort();
        let [.., less, more] = burned[..] else { panic!("{burned:?}") };
        assert_charged(cpu(&one), less);
        assert_charged(cpu(&other), more);
    });
}

#[test]
fn a_part_of_a_request_pays_for_its_own_statement_and_the_request_with_it() {
    run(async |db, request| {
        let (before, burned) = (cpu(&request), cpu_of_drivers());
        let part = request.nested("search");
        let inside = part.clone();
        let for_the_part = db
            .run_interaction("heavy", |mut txn| {
                let inside = inside.clone();
                async move {
                    txn.query(HEAVY, ()).await?;
                    let burned = cpu_of_drivers();
                    txn.query(HEAVY, ()).in_context(inside.clone()).await?;
                    // Nothing of it comes late.
                    inside.finish();
                    let burned = cpu_of_drivers() - burned;
                    txn.query(HEAVY, ()).await?;
                    Ok::<_, Error>(burned)
                }
            })
            .await
            .unwrap();
        let burned = cpu_of_drivers() - burned;
        assert_charged(cpu(&part), for_the_part);
        assert_charged(cpu(&request) - before, burned);
        assert!(part.cpu_after_finish().unwrap() < burned / 100);

        // The whole interaction in a part, too.
        let (before, burned) = (cpu(&request), cpu_of_drivers());
        let part = request.nested("all");
        db.run_interaction("heavy", |mut txn| async move { txn.query(HEAVY, ()).await })
            .in_context(part.clone())
            .await
            .unwrap();
        let burned = cpu_of_drivers() - burned;
        assert_charged(cpu(&part), burned);
        assert_charged(cpu(&request) - before, burned);
    });
}

#[test]
fn another_context_that_asks_inside_pays_instead() {
    run(async |db, request| {
        let (before, burned) = (cpu(&request), cpu_of_drivers());
        let other = LogContext::builder("other").supervisor(&request.supervisor()).start();
        let asking = other.clone();
        db.run_interaction("heavy", |mut txn| {
            let asking = asking.clone();
            async move { txn.query(HEAVY, ()).in_context(asking).await }
        })
        .await
        .unwrap();
        let burned = cpu_of_drivers() - burned;
        assert_charged(cpu(&other), burned);
        assert!(cpu(&request) - before < burned / 10);
    });
}

#[test]
fn what_ends_after_the_request_is_charged_as_such() {
    run(async |db, request| {
        let burned = cpu_of_drivers();
        let gone = LogContext::builder("gone").supervisor(&request.supervisor()).start();
        let leaving = async {
            let heavy = db.run_interaction("heavy", |mut txn| async move {
                txn.query(HEAVY, ()).await?;
                current_context().finish();
                std::future::pending::<Result<(), Error>>().await
            });
            tokio::select! {
                _ = heavy => unreachable!("it waits for ever"),
                () = until("finished", || gone.is_finished()) => {}
            }
        };
        leaving.in_context(gone.clone()).await;
        until("idle", || db.connections_in_use() == 0).await;
        let burned = cpu_of_drivers() - burned;
        assert_charged(cpu(&gone), burned);
        assert!(gone.cpu_after_finish().unwrap() >= burned.mul_f64(0.95));
    });
}

#[test]
fn what_is_cancelled_is_charged_until_then() {
    run(async |db, request| {
        let (before, burned) = (cpu(&request), cpu_of_drivers());
        let endless = db.query(
            "endless",
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n",
            (),
        );
        tokio::select! {
            _ = endless => unreachable!("it never ends"),
            () = until("burned", || cpu_of_drivers() - burned > Duration::from_millis(100)) => {}
        }
        until("idle", || db.connections_in_use() == 0).await;
        let (charged, burned) = (cpu(&request) - before, cpu_of_drivers() - burned);
        assert!(charged >= burned.mul_f64(0.95), "{charged:?} of {burned:?}");
        // Nobody burns any more: what follows is no more than what is asked for.
        let burned = cpu_of_drivers();
        for _ in 0..20 {
            db.query("quick", "SELECT 1", ()).await.unwrap();
        }
        let quick = cpu_of_drivers() - burned;
        db.query("heavy", HEAVY, ()).await.unwrap();
        assert!(quick < (cpu_of_drivers() - burned) / 2, "{quick:?}");
    });
}

/// Spans are entered on the driver's threads, with whatever a layer does then.
#[test]
fn also_under_subscribers_of_every_kind() {
    let supervisor = Supervisor::new("spans");
    let plain =
        tracing_subscriber::registry().with(tracing_subscriber::fmt::layer().with_writer(std::io::sink));
    let spans = tracing_subscriber::registry().with(ContextSpans::new().supervisor(&supervisor));
    for dispatch in [Dispatch::none(), Dispatch::new(plain), Dispatch::new(spans)] {
        run(async |db, request| {
            let (before, burned) = (cpu(&request), cpu_of_drivers());
            async {
                let span = info_span!("search");
                db.query("heavy", HEAVY, ()).instrument(span.clone()).await.unwrap();
                db.run_interaction("heavy", |mut txn| async move { txn.query(HEAVY, ()).await })
                    .instrument(span)
                    .await
                    .unwrap();
            }
            .with_subscriber(dispatch.clone())
            .await;
            assert_charged(cpu(&request) - before, cpu_of_drivers() - burned);
        });
    }
}

/// A request that is nothing but a span; also the connections are opened in it.
#[test]
fn a_span_that_is_a_context_pays_once() {
    let _alone = alone();
    for runtime in runtimes() {
        let supervisor = Supervisor::new("spans");
        let spans = tracing_subscriber::registry().with(ContextSpans::new().supervisor(&supervisor));
        let own = Own::sqlite();
        let seen = runtime.block_on(
            async {
                let span = info_span!("request", method = "GET", route = "/search");
                async {
                    let db = open(&own).await;
                    let context = current_context();
                    assert_eq!(context.name(), "GET-1");
                    let (before, burned) = (cpu(&context), cpu_of_drivers());
                    db.query("heavy", HEAVY, ()).await.unwrap();
                    assert_charged(cpu(&context) - before, cpu_of_drivers() - burned);
                    assert_eq!(db.close(DEADLINE).await.left_open, 0);
                    context
                }
                .instrument(span)
                .await
            }
            .with_subscriber(Dispatch::new(spans)),
        );
        assert!(cpu(&seen) > Duration::ZERO);
    }
}

/// What adapters have charged, and nobody else.
fn charged() -> Duration {
    logcontext::books().expect("measured on Linux").charged_by_adapters()
}

fn process() -> Duration {
    logcontext::books().expect("measured on Linux").process()
}

/// Makes something to do for whoever closes the last connection: what was written is not in its place yet.
async fn leave_much_to_close(db: &Database) {
    db.run_interaction("write", |mut txn| async move {
        txn.query("PRAGMA wal_autocheckpoint = 0", ()).await?;
        txn.execute_script("CREATE TABLE IF NOT EXISTS blobs (b BLOB)").await?;
        txn.execute(
            "INSERT INTO blobs WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
             SELECT zeroblob(100000) FROM n",
            (),
        )
        .await
    })
    .await
    .unwrap();
}

#[test]
fn opening_a_connection_is_paid_by_who_waits_for_it() {
    const CONNECTIONS: usize = 10;
    let _alone = alone();
    for runtime in runtimes() {
        let supervisor = Supervisor::new("test");
        let own = Own::sqlite();
        let opener = LogContext::builder("GET-1").supervisor(&supervisor).start();
        let (before, burned) = (charged(), cpu_of_drivers());
        let open = async {
            let db = own.builder().max_connections(CONNECTIONS).open().await.unwrap();
            let all = Barrier::new(CONNECTIONS);
            let reading = (0..CONNECTIONS).map(|_| {
                let read = db.interaction("read").read_only();
                read.run(|_| async {
                    tokio::time::timeout(DEADLINE, all.wait()).await.expect("all have one");
                    Ok::<(), Error>(())
                })
            });
            futures_util::future::try_join_all(reading).await.unwrap();
            db
        };
        let db = runtime.block_on(open.in_context(opener.clone()));
        assert_eq!(db.open_connections(), CONNECTIONS + 1);
        // All of it since the threads were started: they live.
        let (charged, burned) = (charged() - before, cpu_of_drivers() - burned);
        let (least, most) = (burned.mul_f64(0.9), burned.mul_f64(1.05));
        assert!(charged >= least && charged <= most, "{charged:?} of {burned:?}");
        assert!(cpu(&opener) >= charged);
        runtime.block_on(db.close(DEADLINE).in_context(opener));
    }
}

#[test]
fn closing_connections_is_paid_by_who_closes_them() {
    let _alone = alone();
    for runtime in runtimes() {
        let supervisor = Supervisor::new("test");
        for how in ["close", "drop"] {
            let own = Own::sqlite();
            let [writer, closer] =
                ["writer", "closer"].map(|name| LogContext::builder(name).supervisor(&supervisor).start());
            let db = runtime.block_on(
                async {
                    let db = open(&own).await;
                    leave_much_to_close(&db).await;
                    db
                }
                .in_context(writer),
            );
            let before = process();
            let close = async {
                if how == "close" {
                    assert_eq!(db.close(DEADLINE).await.left_open, 0);
                } else {
                    drop(db);
                    // Nobody tells us when: a file that nobody has open.
                    own.until_sessions("true", 0).await;
                }
            };
            runtime.block_on(close.in_context(closer.clone()));
            let burned = process() - before;
            assert!(burned > Duration::from_millis(5), "{how}: too light to compare: {burned:?}");
            let is_paid = || cpu(&closer) >= burned.mul_f64(0.7);
            if how == "drop" {
                // The file is free a moment before the thread that has closed it is done.
                runtime.block_on(until("it is paid", is_paid));
            }
            assert!(is_paid(), "{how}: {:?} of {burned:?}", cpu(&closer));
        }
    }
}

#[test]
fn closing_idle_connections_is_paid_by_the_process_that_does_it() {
    let _alone = alone();
    for runtime in runtimes() {
        let supervisor = Supervisor::new("test");
        let own = Own::sqlite();
        let opener = LogContext::builder("GET-1").supervisor(&supervisor).start();
        let reaped = async {
            let db = own.builder().idle_timeout(Duration::from_millis(200)).open().await.unwrap();
            leave_much_to_close(&db).await;
            let before = process();
            until("all are closed", || db.open_connections() == 0).await;
            let burned = process() - before;
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            burned
        };
        let burned = runtime.block_on(reaped.in_context(opener.clone()));
        assert!(burned > Duration::from_millis(5), "too light to compare: {burned:?}");
        let of_reaper =
            |totals: &logcontext::LabelTotals| totals.label.as_deref() == Some("close_idle_connections");
        let totals = supervisor.totals();
        let reaper = totals.iter().find(|totals| of_reaper(totals)).expect("it has run");
        // The rest is the waiting for it.
        assert!(reaper.usage.cpu().unwrap() >= burned.mul_f64(0.5), "{:?} of {burned:?}", reaper.usage);
    }
}

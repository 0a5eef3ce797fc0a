//! Reaching a server: how long that takes is no waiting for a connection, and how it fails is told.

mod common;

use std::time::{Duration, Instant};

use common::asking::{trivial, wait};
use common::figures::Figures;
use common::hold::{self, Hold};
use common::outside::{Outside, until};
use common::{DEADLINE, Own};
use logcontext::{Background, LogContext};
use logcontext_db::{Database, Error};
use logcontext_testservers::Stop;

/// How long a connection takes to be made, where that counts.
const PAUSE: Duration = Duration::from_millis(200);

/// A trivial transaction in the background.
fn trying(db: &Database, context: &LogContext) -> Background<Vec<Result<(), Error>>> {
    let db = db.clone();
    hold::run(context, async move { trivial(&db).await })
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn connecting_is_not_waiting() {
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own.builder().max_connections(2).open().await.unwrap();
            let held = Hold::begin(&db, &setting.context).await;
            own.server(|server, _| server.pause()).await;
            let lookup = setting.context.nested("lookup");
            let running = trying(&db, &lookup);
            until("it connects", || db.open_connections() == 2).await;
            own.server(|server, _| server.resume()).await;
            hold::outcome(running).await.unwrap();
            assert_eq!(wait(&lookup), Duration::ZERO);
            held.end().await.unwrap();
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
        },
    );
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn the_wait_ends_when_there_is_a_place_and_not_when_it_is_connected() {
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own.builder().max_connections(1).open().await.unwrap();
            let held = Hold::begin(&db, &setting.context).await;
            let lookup = setting.context.nested("lookup");
            let waiting = trying(&db, &lookup);
            until("it waits", || db.waiting().len() == 1).await;
            own.psql(format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'",
                own.database()
            ))
            .await;
            own.until_sessions("true", 0).await;
            own.server(|server, _| server.pause()).await;
            // Its connection is gone, and the next in line must open one, which takes a while.
            assert!(matches!(held.end().await, Err(Error::ConnectionLost(_))));
            until("there is a place", || db.waiting().is_empty()).await;
            until("the wait is known", || wait(&lookup) > Duration::ZERO).await;
            let waited = wait(&lookup);
            // It is to be told from what a trivial transaction takes.
            tokio::time::sleep(PAUSE).await;
            let resumed = Instant::now();
            own.server(|server, _| server.resume()).await;
            hold::outcome(waiting).await.unwrap();
            assert_eq!(wait(&lookup), waited);
            assert!(lookup.usage().db_txn_duration <= resumed.elapsed(), "{:?}", lookup.usage());
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
        },
    );
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_server_that_does_not_answer_is_no_acquire_timeout() {
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            let db = own.builder().max_connections(2).acquire_timeout(Duration::from_secs(1));
            let db = db.open().await.unwrap();
            let held = Hold::begin(&db, &setting.context).await;
            own.server(|server, _| server.pause()).await;
            let error = trivial(&db).await.unwrap_err();
            own.server(|server, _| server.resume()).await;
            let Error::Connect { tries: 1, source, .. } = &error else { panic!("{error:?}") };
            assert!(source.to_string().contains("no answer from the server in time"), "{source}");
            let figures = Figures::now(&setting);
            assert_eq!(figures.value("db_pool_connect_failures", ""), 1.0);
            assert_eq!(figures.value("db_pool_acquire_timeouts", ""), 0.0);
            held.end().await.unwrap();
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
        },
    );
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_server_that_is_full_is_asked_again_until_it_is_not() {
    let server = common::server(&[("max_connections", "4"), ("superuser_reserved_connections", "0")]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            // All that the server has: three of them ours, and one that is somebody else's.
            let greedy = own.builder().name("greedy").max_connections(4).open().await.unwrap();
            let mut held = Vec::new();
            for _ in 0..3 {
                held.push(Hold::begin(&greedy, &setting.context).await);
            }
            let db = own.builder().acquire_timeout(Duration::from_millis(500)).open().await.unwrap();
            let other = Hold::begin(&db, &setting.context).await;
            let error = trivial(&db).await.unwrap_err();
            let Error::Connect { tries, source, .. } = &error else { panic!("{error:?}") };
            assert!(*tries > 1, "{error:?}");
            assert!(source.to_string().contains("too many clients"), "{source}");
            assert!(Figures::now(&setting).value("db_pool_connect_failures", "database=main") > 1.0);
            // From the start, so there is nothing to wait for in its own pool.
            let refused = own.builder().name("refused").open().await.unwrap_err();
            assert!(matches!(refused, Error::Connect { tries: 1, .. }), "{refused:?}");

            let patient = own.builder().name("patient").connect_within(DEADLINE);
            let opening = hold::run(&setting.context, patient.open());
            let failures = || Figures::now(&setting).value("db_pool_connect_failures", "database=main");
            let before = failures();
            let trying = trying(&db, &setting.context);
            until("it is refused again", || failures() > before).await;
            while let Some(held) = held.pop() {
                held.end().await.unwrap();
            }
            assert_eq!(greedy.close(DEADLINE).await.left_open, 0);
            let patient = hold::outcome(opening).await.unwrap();
            // It may have given up just before: that one is asked again.
            if hold::outcome(trying).await.is_err() {
                trivial(&db).await.unwrap();
            }
            other.end().await.unwrap();
            for db in [db, patient] {
                assert_eq!(db.close(DEADLINE).await.left_open, 0);
            }
        },
    );
}
#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn what_cannot_be_reached_fails_at_once_and_says_why() {
    common::run(Own::postgres, async |own, _setting| {
        let host = own.url.rsplit_once('/').unwrap().0.to_owned();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = nobody.local_addr().unwrap();
        drop(nobody);
        for (url, why) in [
            (format!("{host}/nowhere"), "database \"nowhere\" does not exist"),
            (own.url.replace("postgres@", "stranger@"), "role \"stranger\" does not exist"),
            (format!("postgres://postgres@{closed}/any"), "Connection refused"),
        ] {
            let error = Database::open(url.clone()).await.unwrap_err();
            let Error::Connect { tries: 1, source, .. } = &error else { panic!("{url}: {error:?}") };
            assert!(source.to_string().contains(why), "{source}");
        }
        own.is_free().await;
        // Not even a server that may come is worth waiting for, if it does not know us.
        let mut other = Outside::open(&own).await;
        let stranger = Database::builder(own.url.replace("postgres@", "stranger@")).connect_within(DEADLINE);
        assert!(matches!(stranger.open().await, Err(Error::Connect { tries: 1, .. })));
        other.run("SELECT 1").await;
        other.close().await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_server_that_starts_along_is_waited_for() {
    let server = common::server(&[]);
    common::run(
        || Own::on(&server),
        async |own, setting| {
            own.server(|server, _| server.stop(Stop::Fast)).await;
            let within = own.builder().connect_within(Duration::from_millis(100)).open().await;
            assert!(matches!(within, Err(Error::Connect { tries, .. }) if tries > 1), "{within:?}");
            // Longer than one may wait for a connection otherwise.
            let patient = own.builder().acquire_timeout(Duration::from_millis(10)).connect_within(DEADLINE);
            let opening = hold::run(&setting.context, patient.open());
            own.server(|server, _| server.start_again()).await;
            let db = hold::outcome(opening).await.unwrap();
            assert_eq!(db.close(DEADLINE).await.left_open, 0);
            own.is_free().await;
        },
    );
}

#[test]
fn a_file_that_cannot_be_opened_fails_at_once_and_says_why() {
    common::run(Own::sqlite, async |own, _setting| {
        let path = own.url.trim_start_matches("sqlite:").trim_end_matches("?mode=rwc").to_owned();
        for (url, why) in [
            (format!("sqlite:{path}"), "unable to open database file"),
            (format!("sqlite:{path}/below?mode=rwc"), "unable to open database file"),
        ] {
            let error = Database::open(url).await.unwrap_err();
            let Error::Connect { tries: 1, source, .. } = &error else { panic!("{error:?}") };
            assert!(source.to_string().contains(why), "{source}");
        }
        std::fs::write(&path, "no database at all, but long enough to be taken for one. ".repeat(100))
            .unwrap();
        let error = own.builder().open().await.unwrap_err();
        let Error::Connect { tries: 1, source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("file is not a database"), "{source}");
        own.until_sessions("true", 0).await;
    });
}

//! A database that has no time, or has gone.

mod common;

use std::net::SocketAddr;

use common::{Ended, Events, JSON, Own, Settings, ask, on_both_databases, set, settings_of, with_service};
use logcontext_service::config::PositiveTime;
use logcontext_testservers::{Postgres, Stop};

const ONLINE: &str = r#"{"presence": "online"}"#;

/// That does not wait long, and is left alone by its own background processes.
fn impatient(mut settings: Settings) -> Settings {
    settings.database.acquire_timeout = PositiveTime::from_millis(300);
    settings.server.time_out_every = PositiveTime::from_secs(3600);
    settings
}

async fn is_refused(address: SocketAddr, request: &str) {
    let answer = ask(address, request, &[JSON], ONLINE).await;
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    common::refused(async { answer }, 503, "unavailable", &["another try later"]).await;
}

/// Each refusal was logged once, as a warning of its request, and nothing worse was.
fn assert_told_once(ended: &Ended, refused: usize) {
    let told = ended.records_of("database unavailable");
    assert_eq!(told.len(), refused, "{told:#?}");
    assert!(told.iter().all(|record| record.context.request().is_some()), "{told:#?}");
    let mut names: Vec<_> = told.iter().map(|record| record.context.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), refused, "{told:#?}");
    assert!(
        told.iter().all(|record| record.level == tracing::Level::WARN && record.field("error").is_some())
    );
    // A background process may have been at work as well.
    let mut errors = ended.test.records_at(tracing::Level::ERROR);
    errors.retain(|record| record.context.request().is_some());
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_server_that_is_stopped_is_told_as_503_and_all_is_well_once_it_is_back() {
    for how in [Stop::Fast, Stop::Immediate] {
        let server = Postgres::start().unwrap();
        let settings = impatient(settings_of(&server.fresh_database()));
        let ended = with_service(settings, async |address| {
            set(address, "alice", "online").await;
            let mut events = Events::follow(address, "alice").await;
            assert_eq!(events.next().await.unwrap()["presence"], "online");
            server.stop(how);
            for request in [
                "PUT /presence/alice",
                "GET /presence/alice",
                "GET /presence/alice/history",
                "GET /presence/alice/stream",
            ] {
                is_refused(address, request).await;
            }
            assert_eq!(ask(address, "GET /health", &[], "").await.status, 200);
            server.start_again();
            set(address, "alice", "offline").await;
            assert_eq!(events.next().await.unwrap()["presence"], "offline");
            let history = ask(address, "GET /presence/alice/history", &[], "").await.json();
            assert_eq!(history["history"].as_array().unwrap().len(), 2, "{history}");
        });
        assert_told_once(&ended, 4);
        assert!(ended.stopped.is_clean(), "{:?}", ended.stopped);
    }
}

#[test]
fn another_process_that_writes_for_long_keeps_those_waiting_who_write_and_nobody_else() {
    let own = Own::sqlite();
    let ended = with_service(impatient(own.settings()), async |address| {
        set(address, "alice", "online").await;
        let locked = own.keep_from_writing();
        // One gets as far as the database, the other waits for the first.
        let put = || is_refused(address, "PUT /presence/alice");
        tokio::join!(put(), put());
        assert_eq!(ask(address, "GET /presence/alice", &[], "").await.status, 200);
        drop(locked);
        set(address, "alice", "offline").await;
    });
    assert_told_once(&ended, 2);
    own.assert_nobody_is_connected();
}

on_both_databases! {
    fn a_statement_that_takes_too_long_is_told_as_503_and_leaves_nothing_behind(own: Own) {
        let mut settings = impatient(own.settings());
        settings.database.statement_timeout = PositiveTime::from_millis(300);
        let ended = with_service(settings, async |address| {
            set(address, "alice", "online").await;
            own.after("INSERT ON history", if own.is_sqlite() {
                "SELECT count(*) FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)"
            } else {
                "PERFORM pg_sleep(3600)"
            });
            let answer = ask(address, "PUT /presence/alice", &[JSON], r#"{"presence": "offline"}"#).await;
            common::refused(async { answer }, 503, "unavailable", &[]).await;
            own.sql(if own.is_sqlite() { "DROP TRIGGER test" } else { "DROP TRIGGER test ON history" });
            let get = ask(address, "GET /presence/alice", &[], "").await.json();
            assert_eq!(get["presence"], "online");
            set(address, "alice", "unavailable").await;
        });
        assert_told_once(&ended, 1);
        own.assert_nobody_is_connected();
    }
}

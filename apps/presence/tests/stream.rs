//! Following a presence.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Events, JSON, Own, ask, on_both_databases, set, with_service, with_service_to_stop};
use logcontext_service::config::PositiveTime;

on_both_databases! {
    fn a_stream_tells_the_present_state_at_once_and_then_each_change(own: Own) {
        with_service(own.settings(), async |address| {
            set(address, "alice", "online").await;
            let mut events = Events::follow(address, "alice").await;
            assert_eq!(events.next().await.unwrap()["presence"], "online");
            for state in ["unavailable", "offline", "online"] {
                set(address, "bob", state).await;
                set(address, "alice", state).await;
                let event = events.next().await.unwrap();
                assert_eq!((&event["user"], &event["presence"]), (&"alice".into(), &state.into()));
            }
        });
    }

    fn a_stream_tells_when_presence_times_out(own: Own) {
        let mut settings = own.settings();
        settings.server.unavailable_after = PositiveTime::from_millis(1);
        settings.server.offline_after = PositiveTime::from_millis(2);
        settings.server.time_out_every = PositiveTime::from_millis(1);
        let ended = with_service(settings, async |address| {
            set(address, "alice", "online").await;
            let mut events = Events::follow(address, "alice").await;
            while events.next().await.unwrap()["presence"] != "offline" {}
        });
        let records = ended.test.records();
        let timed_out = records.iter().find(|record| record.message == "presence timed out").unwrap();
        assert_eq!(timed_out.context.label(), Some("time_out_presence"));
    }

    fn a_shutdown_ends_streams_properly_and_at_once(own: Own) {
        let mut settings = own.settings();
        settings.service.shutdown.deadline = Duration::from_secs(3600).into();
        let ended = with_service_to_stop(settings, async |address, stop| {
            set(address, "alice", "online").await;
            let mut events = Events::follow(address, "alice").await;
            assert_eq!(events.next().await.unwrap()["presence"], "online");
            stop.send(()).unwrap();
            assert_eq!(events.next().await, None);
        });
        assert!(ended.stopped.aborted.is_empty() && ended.stopped.cut == 0, "{:?}", ended.stopped);
    }

    fn what_is_rolled_back_is_told_to_nobody_and_kept_nowhere(own: Own) {
        // In the order of the statements of the transaction: whichever of them was not in it would show.
        for event in ["UPDATE OF state ON presence", "INSERT ON history"] {
            let own = if own.is_sqlite() { Own::sqlite() } else { Own::postgres() };
            let ended = with_service(own.settings(), async |address| roll_back(&own, address, event).await);
            let errors = ended.records_of("database error");
            assert_eq!(errors.len(), 1, "{errors:#?}");
            assert!(errors[0].context.name().starts_with("PUT-"), "{errors:#?}");
            assert!(errors[0].field("error").unwrap().to_lowercase().contains("foreign key"), "{errors:#?}");
            assert_eq!(ended.test.records_at(tracing::Level::ERROR).len(), 1, "told more than once");
        }
    }
}

/// Has a transaction fail in its commit, when all that it does is done.
async fn roll_back(own: &Own, address: SocketAddr, event: &str) {
    set(address, "alice", "online").await;
    let mut events = Events::follow(address, "alice").await;
    assert_eq!(events.next().await.unwrap()["presence"], "online");
    // A constraint that is looked at by the commit, and not before.
    own.sql(
        "CREATE TABLE allowed (id BIGINT PRIMARY KEY);
         CREATE TABLE checked (id BIGINT REFERENCES allowed (id) DEFERRABLE INITIALLY DEFERRED)",
    );
    own.after(event, "INSERT INTO checked VALUES (1)");
    let answer = ask(address, "PUT /presence/alice", &[JSON], r#"{"presence": "offline"}"#).await;
    assert_eq!((answer.status, &answer.json()["errcode"]), (500, &"internal".into()), "{answer:?}");
    assert!(!answer.body.contains("constraint"), "{answer:?}");

    let get = ask(address, "GET /presence/alice", &[], "").await.json();
    assert_eq!(get["presence"], "online");
    let history = ask(address, "GET /presence/alice/history", &[], "").await.json();
    assert_eq!(history["history"].as_array().unwrap().len(), 1, "{history}");

    own.sql("INSERT INTO allowed VALUES (1)");
    set(address, "alice", "unavailable").await;
    assert_eq!(events.next().await.unwrap()["presence"], "unavailable");
}

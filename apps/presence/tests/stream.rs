//! Following a presence.

mod common;

use std::time::Duration;

use common::{Events, config, set, with_service, with_service_to_stop};
use presence::service::Config;
use presence::store::Timeouts;

#[test]
fn a_stream_tells_the_present_state_at_once_and_then_each_change() {
    with_service(config(), async |address| {
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

#[test]
fn a_stream_tells_when_presence_times_out() {
    let timeouts = Timeouts {
        unavailable: Duration::from_millis(1),
        offline: Duration::from_millis(2),
        ..Config::default().timeouts
    };
    let config = Config { timeouts, time_out_every: Duration::from_millis(1), ..config() };
    let ended = with_service(config, async |address| {
        set(address, "alice", "online").await;
        let mut events = Events::follow(address, "alice").await;
        while events.next().await.unwrap()["presence"] != "offline" {}
    });
    let records = ended.test.records();
    let timed_out = records.iter().find(|record| record.message == "presence timed out").unwrap();
    assert_eq!(timed_out.context.label().as_deref(), Some("time_out_presence"));
}

#[test]
fn a_shutdown_ends_streams_properly_and_at_once() {
    let config = Config { shutdown_deadline: Duration::from_secs(3600), ..config() };
    let ended = with_service_to_stop(config, async |address, stop| {
        set(address, "alice", "online").await;
        let mut events = Events::follow(address, "alice").await;
        assert_eq!(events.next().await.unwrap()["presence"], "online");
        stop.send(()).unwrap();
        assert_eq!(events.next().await, None);
    });
    assert!(ended.stopped.aborted.is_empty() && ended.stopped.cut == 0, "{:?}", ended.stopped);
}

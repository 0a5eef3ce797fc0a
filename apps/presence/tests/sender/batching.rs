//! How changes become transactions.

use presence::presence::State;

use super::common::Own;
use super::hub::{Hub, Mode};
use super::world::{World, until};

/// A hub that is told of everybody, and has been told of one.
fn world(hub: &Hub) -> World {
    let mut world = World::new(Own::sqlite(), &[("two", hub)]);
    world.settings.hubs.get_mut("two").unwrap().follows_all = true;
    world
}

#[test]
fn a_thousand_changes_of_ten_users_while_one_is_under_way_are_one_transaction() {
    let hub = Hub::start("s3cret");
    let world = world(&hub);
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    hub.hold(true);
    api.fire("first", 1);
    until("it is under way", || hub.seen().attempts == 1);
    for revision in 1..=100 {
        for n in 0..10 {
            api.fire(&format!("user-{n}"), revision);
        }
    }
    // All others were superseded, so they are done: before anything was delivered.
    api.until_unhandled(11);
    assert_eq!(sender.sender.as_ref().unwrap().pending_destinations(), 1);
    hub.hold(false);
    api.until_unhandled(0);
    assert_eq!(hub.sizes(), [1, 10]);
    assert!((0..10).all(|n| hub.knows(&format!("user-{n}")) == Some((100, "online".to_owned()))));
    assert_eq!(sender.sender.as_ref().unwrap().pending_destinations(), 0);
    sender.end();
    api.end();
}

#[test]
fn a_hundred_and_twenty_users_are_transactions_of_fifty() {
    let hub = Hub::start("s3cret");
    let world = world(&hub);
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    hub.hold(true);
    api.fire("first", 1);
    until("it is under way", || hub.seen().attempts == 1);
    (0..120).for_each(|n| api.fire(&format!("user-{n}"), 1));
    until("all wait", || sender.sender.as_ref().unwrap().pending_states() == 121);
    hub.hold(false);
    api.until_unhandled(0);
    assert_eq!(hub.sizes(), [1, 50, 50, 20]);
    sender.end();
    api.end();
}

#[test]
fn a_hub_is_told_of_whom_it_follows_from_the_beginning_and_of_nobody_else() {
    let hub = Hub::start("s3cret");
    let world = World::new(Own::sqlite(), &[("two", &hub)]);
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    for name in ["alice", "bob"] {
        api.set(name, State::Online);
    }
    api.until_unhandled(0);
    api.follow("two", "alice", true);
    api.follow("two", "nobody-yet", true);
    api.until_unhandled(0);
    assert_eq!(hub.knows("alice"), Some((1, "online".to_owned())), "what there was");
    api.set("alice", State::Unavailable);
    api.set("nobody-yet", State::Online);
    api.until_unhandled(0);
    api.follow("two", "alice", false);
    api.until_unhandled(0);
    api.set("alice", State::Offline);
    api.set("bob", State::Offline);
    api.set("nobody-yet", State::Offline);
    until("all is said", || hub.knows("nobody-yet") == Some((2, "offline".to_owned())));
    api.until_unhandled(0);
    assert_eq!((hub.knows("alice"), hub.knows("bob")), (Some((2, "unavailable".to_owned())), None));
    sender.end();
    api.end();
}

#[test]
fn each_change_is_handled_by_a_process_that_belongs_to_it_and_sent_by_one_of_the_hub() {
    let hub = Hub::start("s3cret");
    let world = world(&hub);
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    hub.set(Mode::Answer(503));
    api.set("alice", State::Online);
    let behind = || {
        let records = world.kit.records();
        records.into_iter().find(|record| record.message == "a hub cannot be told: it is behind")
    };
    until("it is said", || behind().is_some());
    let behind = behind().unwrap();
    assert!(behind.context.name().starts_with("transaction_transmission-two-"), "{}", behind.context);
    assert_eq!((behind.field("hub"), behind.field("error")), (Some("two"), Some("answered 503")));
    let records = world.kit.records();
    let secrets: Vec<_> = records.iter().filter(|record| format!("{record:?}").contains("s3cret")).collect();
    assert!(secrets.is_empty(), "{secrets:?}");
    assert!(hub.last_head().contains("content-type: application/json\r\n"));
    hub.set(Mode::Take);
    until("it was told", || hub.knows("alice").is_some());
    sender.end();
    api.end();
}

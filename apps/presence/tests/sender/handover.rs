//! Senders that come and go.

use presence::presence::State;

use super::common::Own;
use super::hub::{Hub, Mode};
use super::world::{World, until};

/// What a sender had not delivered when it was killed, the next one delivers.
fn another_takes_over(world: &World, hub: &Hub) {
    let (api, first) = (world.api(), world.sender());
    world.until_live(1);
    hub.hold(true);
    for n in 0..60 {
        api.set(&format!("user-{n}"), State::Online);
    }
    until("a transaction is under way", || hub.seen().attempts >= 1);
    first.kill();
    hub.hold(false);
    let second = world.sender();
    until("all are told of", || hub.seen().known.len() == 60);
    api.until_unhandled(0);
    assert!((0..60).all(|n| hub.knows(&format!("user-{n}")) == Some((1, "online".to_owned()))));
    second.end();
    api.end();
}

fn told_all(own: Own, hub: &Hub) -> World {
    let mut world = World::new(own, &[("two", hub)]);
    world.settings.hubs.get_mut("two").unwrap().follows_all = true;
    world
}

#[test]
fn what_a_killed_sender_had_not_delivered_the_next_one_delivers() {
    let hub = Hub::start("s3cret");
    another_takes_over(&told_all(Own::sqlite(), &hub), &hub);
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn over_redis_and_postgres_what_a_killed_sender_had_not_delivered_the_next_one_delivers() {
    let hub = Hub::start("s3cret");
    another_takes_over(&told_all(Own::postgres(), &hub).over_redis(), &hub);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "is no part of the service")]
fn a_sender_that_ends_in_order_sends_what_waits() {
    let hub = Hub::start("s3cret");
    let world = told_all(Own::sqlite(), &hub);
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    hub.hold(true);
    api.set("first", State::Online);
    until("it is under way", || hub.seen().attempts == 1);
    (0..60).for_each(|n| _ = api.set(&format!("user-{n}"), State::Online));
    until("all wait", || sender.sender.as_ref().unwrap().pending_states() == 61);
    let ended = std::thread::scope(|scope| {
        let ending = scope.spawn(|| sender.end());
        hub.hold(false);
        ending.join()
    });
    ended.unwrap();
    assert_eq!(hub.sizes(), [1, 50, 10]);
    assert_eq!(api.unhandled(), 0);
    api.end();
}

#[test]
fn a_transaction_whose_answer_was_lost_is_not_applied_twice() {
    let hub = Hub::start("s3cret");
    let world = told_all(Own::sqlite(), &hub);
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    api.set("alice", State::Online);
    api.until_unhandled(0);
    // On a connection that is used again: tried once more at once, under the same id, with the same body.
    hub.set(Mode::TakeAndCut);
    api.set("alice", State::Offline);
    until("it has come twice", || hub.seen().attempts >= 3);
    hub.set(Mode::Take);
    world.until_live(1);
    api.until_unhandled(0);
    assert_eq!(hub.knows("alice"), Some((2, "offline".to_owned())));
    sender.end();
    api.end();
}

#[test]
fn a_hub_that_is_new_in_the_settings_is_told_what_there_is() {
    let (two, three) = (Hub::start("s3cret"), Hub::start("other"));
    let mut world = told_all(Own::sqlite(), &two);
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    api.set("alice", State::Online);
    api.until_unhandled(0);
    sender.end();
    let mut settings = three.settings();
    settings.follows_all = true;
    world.settings.hubs.insert("three".to_owned(), settings);
    let sender = world.sender();
    until("it was told", || three.knows("alice").is_some());
    assert_eq!(two.sizes(), [1], "who has it is not told again");
    sender.end();
    // Who is taken out and put back may have missed something.
    let settings = world.settings.hubs.remove("two").unwrap();
    world.sender().end_once_it_has(&world, 1);
    api.set("alice", State::Offline);
    world.settings.hubs.insert("two".to_owned(), settings);
    let sender = world.sender();
    until("it was told", || two.knows("alice") == Some((2, "offline".to_owned())));
    sender.end();
    api.end();
}

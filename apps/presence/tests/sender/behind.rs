//! Hubs that cannot be told, and catch up.

use std::time::Duration;

use logcontext_service::config::PositiveTime;
use presence::bus::PresenceChanged;
use presence::presence::State;
use presence::time::Timestamp;

use super::common::Own;
use super::hub::{Hub, Mode};
use super::world::{Process, World, until, user};

/// A hub that follows alice and bob, and nobody else, and has been told of all there is.
fn following(world: &World, api: &Process) {
    world.until_live(1);
    for name in ["alice", "bob"] {
        api.follow("two", name, true);
        api.set(name, State::Online);
    }
    api.set("carol", State::Online);
    api.until_unhandled(0);
}

fn position(world: &World) -> i64 {
    world.own.number("SELECT coalesce(position_at, -1) FROM destinations")
}

/// Whatever a hub does that is no answer.
fn catches_up_after(own: Own, mode: Mode) {
    let hub = Hub::start("s3cret");
    let mut world = World::new(own, &[("two", &hub)]);
    world.settings.timeout = PositiveTime::from_millis(200);
    // Long enough to say what happens while the hub is behind.
    world.settings.retry_first = PositiveTime::from_millis(500);
    world.settings.retry_limit = PositiveTime::from_millis(500);
    let (api, sender) = (world.api(), world.sender());
    following(&world, &api);
    let told = hub.sizes().len();

    hub.set(mode);
    let before = Timestamp::now().as_millis();
    api.set("alice", State::Unavailable);
    until("it is behind", || position(&world) >= 0);
    assert!(position(&world) >= before, "from the first change that was not delivered");
    let from = position(&world);
    for name in ["alice", "bob", "alice", "carol"] {
        api.set(name, State::Offline);
        api.until_unhandled(0);
    }
    assert_eq!(sender.sender.as_ref().unwrap().behind(), 1);
    assert_eq!(position(&world), from, "what has changed later is covered");
    hub.set(Mode::Take);
    until("it has caught up", || position(&world) == -1);
    assert_eq!((hub.knows("alice"), hub.knows("bob")), (known(4, "offline"), known(2, "offline")));
    assert_eq!(hub.knows("carol"), None);
    let mut last = hub.seen().transactions[told..].concat();
    // It may have come before the hub was to refuse it.
    last.retain(|state| *state != ("alice".to_owned(), 2));
    last.sort();
    assert_eq!(last, [("alice".to_owned(), 4), ("bob".to_owned(), 2)], "the latest of each, once");
    api.set("bob", State::Online);
    api.until_unhandled(0);
    assert_eq!(hub.knows("bob"), known(3, "online"));
    sender.end();
    api.end();
}

fn known(revision: i64, presence: &str) -> Option<(i64, String)> {
    Some((revision, presence.to_owned()))
}

#[test]
fn a_hub_that_answers_with_an_error_catches_up_later() {
    catches_up_after(Own::sqlite(), Mode::Answer(500));
}

#[test]
fn a_hub_that_does_not_know_us_catches_up_later() {
    catches_up_after(Own::sqlite(), Mode::Answer(401));
}

#[test]
fn a_hub_that_ends_connections_catches_up_later() {
    catches_up_after(Own::sqlite(), Mode::Cut);
}

#[test]
fn a_hub_that_does_not_answer_catches_up_later() {
    catches_up_after(Own::sqlite(), Mode::Hang);
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn on_postgres_a_hub_catches_up_as_well() {
    catches_up_after(Own::postgres(), Mode::Answer(500));
}

#[test]
fn nothing_waits_for_a_hub_that_is_tried_again_and_does_not_answer() {
    let hub = Hub::start("s3cret");
    let world = World::new(Own::sqlite(), &[("two", &hub)]);
    let (api, sender) = (world.api(), world.sender());
    following(&world, &api);
    hub.set(Mode::Answer(500));
    api.set("alice", State::Unavailable);
    until("it is behind", || position(&world) >= 0);
    hub.hold(true);
    until("it is tried again", || hub.seen().under_way == 1);
    for name in ["alice", "bob"] {
        api.set(name, State::Offline);
        api.until_unhandled(0);
    }
    hub.set(Mode::Take);
    hub.hold(false);
    world.until_live(1);
    assert_eq!((hub.knows("alice"), hub.knows("bob")), (known(3, "offline"), known(2, "offline")));
    sender.end();
    api.end();
}

/// Each time that another hub of its shard was told, the shard looks whom it is time to try again.
#[test]
fn a_hub_that_is_tried_again_and_does_not_answer_is_not_tried_beside_that() {
    let (hub, other) = (Hub::start("s3cret"), Hub::start("other"));
    // Both are of one shard.
    let mut world = World::new(Own::sqlite(), &[("two", &hub), ("hub-0", &other)]);
    world.settings.hubs.get_mut("hub-0").unwrap().follows_all = true;
    let (api, sender) = (world.api(), world.sender());
    world.until_live(2);
    hub.set(Mode::Answer(500));
    api.follow("two", "alice", true);
    api.set("alice", State::Online);
    until("it is behind", || sender.sender.as_ref().unwrap().behind() == 1);
    hub.hold(true);
    until("it is tried again", || hub.seen().under_way == 1);
    for state in [State::Online, State::Offline].repeat(10) {
        let revision = api.set("bob", state);
        until("the other is told", || other.knows("bob") == known(revision, state.as_str()));
    }
    hub.set(Mode::Take);
    hub.hold(false);
    world.until_live(2);
    api.until_unhandled(0);
    // That two transactions came at once it would say at its end.
    assert_eq!(hub.knows("alice"), known(1, "online"));
    sender.end();
    api.end();
}

#[test]
fn what_a_hub_refuses_is_dropped_and_what_comes_after_it_is_sent() {
    for status in [400, 413, 422] {
        let hub = Hub::start("s3cret");
        let world = World::new(Own::sqlite(), &[("two", &hub)]);
        let (api, sender) = (world.api(), world.sender());
        following(&world, &api);
        hub.set(Mode::Answer(status));
        api.set("alice", State::Unavailable);
        api.until_unhandled(0);
        assert_eq!(position(&world), -1, "not behind");
        hub.set(Mode::Take);
        api.set("bob", State::Offline);
        api.until_unhandled(0);
        assert_eq!((hub.knows("alice"), hub.knows("bob")), (known(1, "online"), known(2, "offline")));
        let records = world.kit.records();
        let refused = records.iter().find(|record| record.message == "transaction refused: it is dropped");
        assert_eq!(refused.and_then(|record| record.field("status")), Some(&*status.to_string()));
        sender.end();
        api.end();
    }
}

#[test]
fn a_hub_that_asks_for_time_gets_it_up_to_the_limit() {
    let hub = Hub::start("s3cret");
    let mut world = World::new(Own::sqlite(), &[("two", &hub)]);
    world.settings.retry_limit = PositiveTime::from_secs(60);
    let (api, sender) = (world.api(), world.sender());
    following(&world, &api);
    hub.set(Mode::AnswerWith(429, "retry-after: 40"));
    let before = Timestamp::now();
    api.set("alice", State::Unavailable);
    api.until_unhandled(0);
    let retry_at = world.own.number("SELECT retry_at FROM destinations");
    let after = Timestamp::now();
    let asked = Duration::from_secs(40);
    assert!((before.after(asked).as_millis()..=after.after(asked).as_millis()).contains(&retry_at));
    sender.end();
    api.end();
}

#[test]
fn who_was_behind_before_a_restart_is_left_alone_for_as_long_and_failures_go_on() {
    let hub = Hub::start("s3cret");
    let mut world = World::new(Own::sqlite(), &[("two", &hub)]);
    world.settings.retry_first = PositiveTime::from_secs(1);
    world.settings.retry_limit = PositiveTime::from_secs(3_600);
    let (api, sender) = (world.api(), world.sender());
    following(&world, &api);
    let before = position_row(&world);
    assert_eq!(before, (0, 0), "nothing has failed");
    sender.end();

    hub.set(Mode::Answer(503));
    let attempts = hub.seen().attempts;
    let later = Timestamp::now().after(Duration::from_secs(1_000)).as_millis();
    world.own.sql(&format!("UPDATE destinations SET position_at = 1, failures = 10, retry_at = {later}"));
    let sender = world.sender();
    api.set("alice", State::Unavailable);
    api.until_unhandled(0);
    assert_eq!((hub.seen().attempts, position_row(&world)), (attempts, (10, later)), "it is not time yet");
    sender.end();

    world.own.sql("UPDATE destinations SET retry_at = 1");
    let sender = world.sender();
    let before = Timestamp::now().as_millis();
    until("it has failed once more", || position_row(&world).0 == 11);
    let (pause, waited) = (position_row(&world).1 - before, Timestamp::now().as_millis() - before);
    // The eleventh, after 1 s for the first: 1,024 s, less a quarter by chance.
    assert!((768_000..=1_024_000 + waited).contains(&pause), "{pause} ms");
    sender.end();
    api.end();
}

fn position_row(world: &World) -> (i64, i64) {
    let number = |column| world.own.number(&format!("SELECT {column} FROM destinations"));
    (number("failures"), number("retry_at"))
}

#[test]
fn who_has_not_been_active_for_long_is_told_to_be_offline_after_an_outage() {
    let hub = Hub::start("s3cret");
    let mut world = World::new(Own::sqlite(), &[("two", &hub)]);
    world.settings.hubs.get_mut("two").unwrap().follows_all = true;
    let api = world.api();
    let set = |name: &str, state, ago| {
        let at = Timestamp::now().before(Duration::from_secs(ago));
        api.run(api.store.set_presence(&user(name), state, None, at)).unwrap();
    };
    set("alice", State::Online, 31 * 60);
    set("bob", State::Unavailable, 29 * 60);
    set("carol", State::Offline, 99 * 60);
    let sender = world.sender();
    world.until_live(1);
    assert_eq!(hub.knows("alice"), known(1, "offline"));
    assert_eq!((hub.knows("bob"), hub.knows("carol")), (known(1, "unavailable"), known(1, "offline")));
    sender.end();
    api.end();
}

/// As of a transaction that has taken long, or of a process whose clock is slow.
#[test]
fn a_change_that_seems_older_than_what_was_told_is_not_missed_while_a_hub_catches_up() {
    let hub = Hub::start("s3cret");
    let mut world = World::new(Own::sqlite(), &[("two", &hub)]);
    world.settings.hubs.get_mut("two").unwrap().follows_all = true;
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    hub.set(Mode::Answer(500));
    for n in 0..120 {
        api.set(&format!("user-{n:03}"), State::Online);
    }
    hub.allow(1);
    hub.set(Mode::Take);
    until("the second page is under way", || hub.sizes() == [50] && hub.seen().has_next);
    let early = Timestamp::from_millis(1_000);
    api.run(async {
        let old = api.store.set_presence(&user("user-000"), State::Offline, None, early).await.unwrap();
        api.bus.fire(&PresenceChanged::new(user("user-000"), old)).await.unwrap();
    });
    until("it waits", || sender.sender.as_ref().unwrap().pending_states() == 1);
    hub.allow(usize::MAX);
    world.until_live(1);
    api.until_unhandled(0);
    assert_eq!(hub.knows("user-000"), known(2, "offline"));
    assert_eq!(hub.sizes(), [50, 50, 1, 20]);
    sender.end();
    api.end();
}

/// Whoever has the shard next goes on from there.
#[test]
fn how_far_a_hub_was_told_is_written_down_only_once_it_has_answered() {
    let hub = Hub::start("s3cret");
    let mut world = World::new(Own::sqlite(), &[("two", &hub)]);
    world.settings.hubs.get_mut("two").unwrap().follows_all = true;
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1);
    hub.set(Mode::Answer(500));
    for n in 0..120 {
        api.set(&format!("user-{n:03}"), State::Online);
    }
    hub.allow(1);
    hub.set(Mode::Take);
    until("the second page is under way", || hub.sizes() == [50] && hub.seen().has_next);
    let told = "SELECT count(*) FROM presence p JOIN destinations d
        ON (p.changed_at, p.user_name) <= (d.position_at, d.position_user)";
    assert_eq!(world.own.number(told), 50);
    sender.kill();
    hub.allow(usize::MAX);
    let sender = world.sender();
    world.until_live(1);
    assert!((0..120).all(|n| hub.knows(&format!("user-{n:03}")) == known(1, "online")));
    api.until_unhandled(0);
    sender.end();
    api.end();
}

#[test]
fn a_late_event_of_an_early_change_moves_the_position_back() {
    let hub = Hub::start("s3cret");
    let world = World::new(Own::sqlite(), &[("two", &hub)]);
    let (api, sender) = (world.api(), world.sender());
    following(&world, &api);
    sender.end();
    let later = Timestamp::now().after(Duration::from_secs(1_000)).as_millis();
    // As if something that had changed later had been the first that was not delivered.
    let changed = world.own.number("SELECT changed_at FROM presence WHERE user_name = 'alice'");
    let position = changed + 10_000;
    world
        .own
        .sql(&format!("UPDATE destinations SET position_at = {position}, failures = 1, retry_at = {later}"));
    let sender = world.sender();
    api.fire("alice", 1);
    api.until_unhandled(0);
    assert_eq!(self::position(&world), changed);
    sender.end();
    world.own.sql("UPDATE destinations SET retry_at = 0");
    let sender = world.sender();
    world.until_live(1);
    assert!(hub.seen().transactions.last().unwrap().contains(&("alice".to_owned(), 1)));
    sender.end();
    api.end();
}

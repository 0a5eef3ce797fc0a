//! The whole of it: four hubs, of which one is several processes, over a real broker and a real database, while all of them
//! are killed and started again.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod chaos;
mod checks;
mod client;
mod hubs;
mod load;
mod ports;
mod recorder;

use std::time::Duration;

use chaos::Chaos;
use hubs::{Broker, World};
use load::Load;
use logcontext_testservers::{Nats, Redis};

/// So many changes are made, of so many users.
const CHANGES: usize = 20_000;
const USERS: usize = 500;

/// When all is well again, all hubs know everything after so long, or the test has failed.
const SETTLE: Duration = Duration::from_secs(120);

fn all_hubs_end_with_the_latest_state_of_all_whom_they_follow(broker: Broker) {
    common::short_panics();
    let mut world = World::start(broker);
    world.follow();
    let load = Load::start(&world, USERS, CHANGES);
    let disturbed = Chaos::new().disturb(&mut world, &load);
    let latest = load.join();
    world.heal();
    checks::everybody_knows(&world, &latest, SETTLE);
    checks::nothing_was_applied_twice(&world);
    checks::the_recorder_got_no_more_than_it_had_to(&world, disturbed);
    checks::the_books_of_all_are_in_order(&world);
    world.end();
}

#[test]
#[ignore = "needs Redis and PostgreSQL: cargo xtask test"]
fn over_redis_all_hubs_end_with_the_latest_state_of_all_whom_they_follow() {
    all_hubs_end_with_the_latest_state_of_all_whom_they_follow(Broker::Redis(Redis::start().unwrap()));
}

#[test]
#[ignore = "needs NATS and PostgreSQL: cargo xtask test"]
fn over_nats_all_hubs_end_with_the_latest_state_of_all_whom_they_follow() {
    all_hubs_end_with_the_latest_state_of_all_whom_they_follow(Broker::Nats(Nats::start().unwrap()));
}

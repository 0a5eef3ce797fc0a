//! Whatever fails, and whoever dies: at the end each hub has the latest of everybody it follows.

use std::collections::BTreeSet;

use presence::presence::State;

use super::common::Own;
use super::hub::{Hub, Mode};
use super::world::{Process, World, until};

const USERS: u64 = 12;
const NAMES: [&str; 3] = ["two", "three", "four"];

/// Random steps from a seed.
fn whatever_happens(own: Own, redis: bool, seed: u64, steps: usize) {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let hubs: Vec<Hub> = NAMES.iter().map(|name| Hub::start(&format!("secret of {name}"))).collect();
    let named: Vec<_> = NAMES.iter().copied().zip(&hubs).collect();
    let mut world = World::new(own, &named);
    world.settings.hubs.get_mut("four").unwrap().follows_all = true;
    if redis {
        world = world.over_redis();
    }
    let api = world.api();
    let mut senders: Vec<Process> = vec![world.sender()];
    let mut follows: [BTreeSet<String>; 2] = Default::default();
    let mut latest = std::collections::BTreeMap::new();
    for _ in 0..steps {
        let name = format!("user-{}", random.u64(..USERS));
        match random.u32(..100) {
            0..60 => {
                let state =
                    *random.choice([State::Online, State::Unavailable, State::Offline].iter()).unwrap();
                latest.insert(name.clone(), (api.set(&name, state), state.as_str().to_owned()));
            }
            60..75 => {
                let hub = random.usize(..2);
                let now = random.u32(..4) > 0;
                api.follow(NAMES[hub], &name, now);
                if now {
                    follows[hub].insert(name)
                } else {
                    follows[hub].remove(&name)
                };
            }
            75..93 => {
                let modes = [Mode::Take, Mode::Take, Mode::Answer(503), Mode::Cut, Mode::TakeAndCut];
                hubs[random.usize(..3)].set(*random.choice(modes.iter()).unwrap());
            }
            93..95 if !senders.is_empty() => senders.swap_remove(random.usize(..senders.len())).kill(),
            95..97 if !senders.is_empty() => senders.swap_remove(random.usize(..senders.len())).end(),
            _ if senders.len() < 2 => senders.push(world.sender()),
            _ => {}
        }
    }
    hubs.iter().for_each(|hub| hub.set(Mode::Take));
    if senders.is_empty() {
        senders.push(world.sender());
    }
    for (n, hub) in hubs.iter().enumerate() {
        let is_followed = |name: &String| n == 2 || follows[n].contains(name);
        let expected: Vec<_> = latest.iter().filter(|(name, _)| is_followed(name)).collect();
        until(&format!("{} has the latest of all it follows, seed {seed}", NAMES[n]), || {
            let seen = hub.seen();
            expected.iter().all(|(name, latest)| seen.known.get(*name) == Some(*latest))
        });
    }
    api.until_unhandled(0);
    senders.into_iter().for_each(Process::end);
    api.end();
}

#[test]
fn each_hub_ends_with_the_latest_of_everybody_it_follows() {
    let seed = fastrand::u64(..);
    (0..4).for_each(|n| whatever_happens(Own::sqlite(), false, seed.wrapping_add(n), 60));
}

#[test]
#[ignore = "needs Redis and PostgreSQL: cargo xtask test"]
fn over_redis_and_postgres_each_hub_ends_with_the_latest_of_everybody_it_follows() {
    whatever_happens(Own::postgres(), true, fastrand::u64(..), 120);
}

//! What must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::USERS;
use super::chaos::wait_until_for;
use super::client::Client;
use super::hubs::{Member, World, user};
use super::load::Latest;

/// Each hub that is told has what each user that it follows said last; and nothing of others.
pub(crate) fn everybody_knows(world: &World, latest: &Latest, time: Duration) {
    assert_eq!(latest.len(), USERS);
    for (hub, step) in world.told.iter().zip([1, 2]) {
        let mut client = Client::new(hub.address);
        for n in 0..USERS {
            let name = user(n);
            let said = &latest[&name];
            let mut known = None;
            let mut look = || {
                known = remote_presence(&mut client, &name);
                known.as_deref() == Some(said)
            };
            if n % step == 0 {
                wait_until_for(&format!("{} has not {said} of {name}", hub.name), time, look);
            } else {
                look();
                assert_eq!(known, None, "{} does not follow {name}", hub.name);
            }
        }
    }
    let all_recorded = || {
        let mut newest: BTreeMap<String, (i64, String)> = BTreeMap::new();
        for told in world.recorder.told().into_iter().filter(|told| !told.was_refused) {
            for (name, revision, said) in states(&told.body) {
                let known = newest.entry(name).or_default();
                if known.0 < revision {
                    *known = (revision, said);
                }
            }
        }
        latest.iter().all(|(name, said)| newest.get(name).is_some_and(|(_, known)| known == said))
    };
    wait_until_for("the recorder was told of everything", time, all_recorded);
}

fn remote_presence(client: &mut Client, name: &str) -> Option<String> {
    let (status, body) = client.ask(&format!("GET /hubs/one/presence/{name}"), &[], "").unwrap();
    if status == 404 {
        return None;
    }
    assert_eq!(status, 200, "{body}");
    let json: Value = serde_json::from_str(&body).unwrap();
    Some(json["status_msg"].as_str().unwrap_or_default().to_owned())
}

/// Whose, which revision, and what it says.
fn states(body: &[u8]) -> Vec<(String, i64, String)> {
    let json: Value = serde_json::from_slice(body).unwrap();
    let states = json["states"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    states
        .map(|state| (text(&state["user"]), state["revision"].as_i64().unwrap(), text(&state["status_msg"])))
        .collect()
}

/// Whatever a hub says of a transaction that it was told again is what it said the first time.
pub(crate) fn nothing_was_applied_twice(world: &World) {
    for hub in &world.told {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        let logs = hub.logs();
        let mut transactions = 0;
        for line in logs.lines().filter(|line| line.contains(" received ") && line.contains("txn_id=")) {
            let (_, fields) = line.split_once(" received ").unwrap();
            let id = fields.split("txn_id=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            transactions += 1;
            if let Some(before) = seen.insert(id, fields.to_owned()) {
                assert_eq!(before, fields, "{}: told again, it was another", hub.name);
            }
        }
        assert!(!seen.is_empty(), "{} was told nothing: {logs}", hub.name);
        println!("{}: {transactions} requests, {} transactions", hub.name, seen.len());
    }
}

/// At most 50 states in each; the latest of each user, and something new, unless something was disturbed; one at a time,
/// unless it moved to another sender; the same transaction is the same text.
pub(crate) fn the_recorder_got_no_more_than_it_had_to(world: &World, disturbed: usize) {
    let mut told = BTreeSet::new();
    let mut bodies = BTreeMap::new();
    let (mut known, mut side_by_side, mut again, mut all_states) = (0, 0, 0, 0);
    let all = world.recorder.told();
    for request in &all {
        let states = states(&request.body);
        all_states += states.len();
        assert!((1..=50).contains(&states.len()), "{} states in a transaction", states.len());
        let users: BTreeSet<_> = states.iter().map(|(name, ..)| name).collect();
        assert_eq!(users.len(), states.len(), "a user is in it twice: {states:?}");
        side_by_side += usize::from(request.beside > 0);
        if let Some(before) = bodies.insert(request.id.clone(), request.body.clone()) {
            assert_eq!(before, request.body, "transaction {} has become another", request.id);
            again += 1;
            continue;
        }
        for (name, revision, _) in states {
            known += usize::from(!told.insert((name, revision)));
        }
    }
    let requests = all.len();
    println!(
        "recorder: {requests} requests, {all_states} states of which {known} were known, {again} again, {side_by_side} side by side"
    );
    // A sender that was killed may have told what the next one tells again: in as many transactions as it likes, of each user.
    assert!(known <= disturbed * USERS, "{known} of {all_states} states were known already");
    assert!(side_by_side <= disturbed, "{side_by_side} of {requests} were side by side");
    assert!(all_states <= super::CHANGES + disturbed * USERS, "{all_states} states");
}

/// All that each process has burned is somebody's, no context was misused, and nothing was given up.
pub(crate) fn the_books_of_all_are_in_order(world: &World) {
    for member in world.members() {
        let metrics = member.process().admin("/metrics");
        let discrepancy = value(&metrics, "logcontext_books_discrepancy_ratio", member);
        assert!(discrepancy.abs() < 0.01, "{}: {discrepancy}", member.name);
        let faults: f64 = values(&metrics, "logcontext_diagnostics_total").sum();
        assert_eq!(faults, 0.0, "{}: {}", member.name, member.logs());
        let dead: f64 = values(&metrics, "bus_dead_letters").sum();
        assert_eq!(dead, 0.0, "{}: dead letters: {:#?}", member.name, buried(world));
    }
}

/// What the log says of dead letters.
fn buried(world: &World) -> Vec<String> {
    let logs = world.members().map(|member| (member.name, member.logs()));
    let of = |(name, logs): (&str, String)| {
        let lines = logs.lines().filter(|line| line.contains("dead letter"));
        lines.map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
    };
    logs.flat_map(of).collect()
}

fn value(metrics: &str, name: &str, member: &Member) -> f64 {
    let found = values(metrics, name).next();
    found.unwrap_or_else(|| panic!("{} does not tell its {name}: {metrics}", member.name))
}

fn values<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    let of = move |line: &'a str| line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
    metrics.lines().filter_map(of).filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
}

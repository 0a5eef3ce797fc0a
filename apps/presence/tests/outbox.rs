//! A change that was acknowledged is told, whatever becomes of the process in between.

mod common;

use std::fs;
use std::net::TcpStream;

use common::process::{Done, How, Process, exchange, folder, presence, run as run_command, wait_until};
use common::{JSON, Own, PATIENCE, text};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::transport::Since;
use logcontext_bus::{Bus, BusConfig};
use logcontext_testservers::{Redis, Stop};
use presence::bus::PresenceChanged;
use tokio::sync::mpsc;
use tokio::time::timeout;

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// Sets everybody's presence so often.
fn set_all(process: &Process, times: usize) {
    for _ in 0..times {
        for user in USERS {
            let asks = format!("x-request-user: {user}");
            let put = text(&format!("PUT /presence/{user}"), &[JSON, &asks], r#"{"presence": "online"}"#);
            let answer = exchange(TcpStream::connect(process.address()).unwrap(), &put);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    }
}

/// What another service hears until it has heard of all these revisions.
fn hear(redis: &Redis, prefix: &str, wanted: &[(&str, i64)]) -> Vec<PresenceChanged> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async {
        let config = BusConfig { prefix: prefix.to_owned(), ..BusConfig::new("other", redis.url()) };
        let bus = Bus::connect(&config).await.unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let listener = bus.listen::<PresenceChanged>("test", move |changed: PresenceChanged| {
            std::future::ready(tell.send(changed))
        });
        listener.in_order().since(Since::Start).start().await.unwrap();
        let mut heard = Vec::<PresenceChanged>::new();
        let are_all_there = |heard: &[PresenceChanged]| {
            wanted.iter().all(|(user, n)| heard.iter().any(|c| c.user.as_str() == *user && c.revision == *n))
        };
        while !are_all_there(&heard) {
            heard.push(timeout(PATIENCE, told.recv()).await.expect("none is lost").unwrap());
        }
        bus.close(PATIENCE).await;
        heard
    };
    runtime.block_on(work.in_context(LogContext::new("test")))
}

/// Presence does not time out meanwhile: there is one change for each request.
fn arguments<'a>(own: &'a Own, redis: &'a Redis, prefix: &'a str) -> [&'a str; 12] {
    [
        "--listen",
        "127.0.0.1:0",
        "--bus",
        redis.url(),
        "--database",
        &own.url,
        "--set",
        prefix,
        "--unavailable-after",
        "1h",
        "--offline-after",
        "1h",
    ]
}

fn killed_between_commit_and_relay(own: &Own) {
    let redis = Redis::start().unwrap();
    let prefix = redis.fresh_prefix();
    let prefix_setting = format!("presence.bus.prefix={prefix}");
    let arguments = arguments(own, &redis, &prefix_setting);
    let mut process = Process::start(How::Foreground, folder(), &arguments);
    set_all(&process, 2);
    let waiting = || own.number("SELECT count(*) FROM logcontext_outbox");
    wait_until("all is told", || waiting() == 0);
    // It is connected, and gets no answer.
    redis.pause();
    set_all(&process, 3);
    assert_eq!(waiting(), 15, "stored with what has changed");
    process.signal("KILL");
    process.wait();
    redis.resume();
    let again = std::mem::replace(&mut process.folder, folder());
    fs::remove_file(again.path().join("presence.log")).unwrap();
    let process = Process::start(How::Foreground, again, &arguments);
    let wanted: Vec<_> = USERS.iter().flat_map(|user| (1..=5).map(|n| (*user, n))).collect();
    let heard = hear(&redis, &prefix, &wanted);
    for user in USERS {
        let mut revisions = Vec::new();
        for changed in heard.iter().filter(|changed| changed.user.as_str() == user) {
            if !revisions.contains(&changed.revision) {
                revisions.push(changed.revision);
            }
        }
        assert_eq!(revisions, [1, 2, 3, 4, 5], "{user}: in order, the first time that each comes");
    }
    wait_until("it is forgotten", || waiting() == 0);
    process.end();
    assert_eq!(own.number("SELECT count(*) FROM logcontext_outbox_lease WHERE holder IS NOT NULL"), 0);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_process_that_is_killed_before_it_has_told_of_a_change_tells_of_it_when_it_is_back() {
    killed_between_commit_and_relay(&Own::sqlite());
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn so_does_one_whose_data_is_on_a_server() {
    killed_between_commit_and_relay(&Own::postgres());
}

/// What `presence bus outbox ..` answers, run somewhere else.
fn command(own: &Own, arguments: &[&str]) -> Done {
    let elsewhere = folder();
    let all = [&["bus", "outbox"], arguments, &["--database", &own.url]].concat();
    run_command(&mut presence(elsewhere.path(), &all))
}

fn printed(own: &Own, arguments: &[&str]) -> String {
    let done = command(own, arguments);
    assert_eq!((done.code, &*done.error), (Some(0), ""), "{done:?}");
    done.out
}

fn set_aside_and_brought_back(own: &Own) {
    let redis = Redis::start().unwrap();
    let prefix = redis.fresh_prefix();
    let prefix_setting = format!("presence.bus.prefix={prefix}");
    let arguments = arguments(own, &redis, &prefix_setting);
    let mut process = Process::start(How::Foreground, folder(), &arguments);
    // Nothing is on its way to it.
    redis.stop(Stop::Immediate);
    set_all(&process, 1);
    process.signal("KILL");
    process.wait();
    redis.start_again();
    // As if the broker had refused them.
    let columns = "id, event, partition_no, lane, at, size, head, body";
    own.sql(&format!(
        "INSERT INTO logcontext_outbox_aside ({columns}, since, reason) \
         SELECT {columns}, 1800000000000, 'too \u{1b}[2J big' FROM logcontext_outbox; DELETE FROM logcontext_outbox"
    ));

    let list = printed(own, &["list"]);
    let rows: Vec<&str> = list.lines().collect();
    assert_eq!(
        rows[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "ID EVENT KEY FIRED BY FIRED AT SINCE REASON"
    );
    assert_eq!(rows.len(), 6, "{list}");
    let first: Vec<&str> = rows[1].split_whitespace().collect();
    assert_eq!((first[1], first[2]), ("presence.changed", "alice"), "{list}");
    assert!(first[3].starts_with("PUT-"), "{list}");
    assert!(rows[1].ends_with("2027-01-15T08:00:00Z  too \u{fffd}[2J big"), "{list}");
    assert_eq!(printed(own, &["list", "--limit", "1"]).lines().count(), 2);

    assert_eq!(printed(own, &["drop", first[0]]), "1 forgotten\n");
    let again = command(own, &["retry", first[0]]);
    again.assert_refused(1, &[&format!("no event {} was set aside", first[0]), "presence bus outbox list"]);
    assert_eq!(command(own, &["retry"]).code, Some(2), "one, or all");

    // The process that is to send them need not be there yet.
    assert_eq!(printed(own, &["retry", "--all"]), "4 will be sent\n");
    assert_eq!(printed(own, &["list"]).lines().count(), 1);
    set_aside_is_sent(own, &redis, &prefix, &arguments);
}

/// All of them but alice's, whose second change is the first that is heard of.
fn set_aside_is_sent(own: &Own, redis: &Redis, prefix: &str, arguments: &[&str]) {
    let process = Process::start(How::Foreground, folder(), arguments);
    set_all(&process, 1);
    let wanted: Vec<_> = USERS.iter().flat_map(|user| [(*user, 1), (*user, 2)]).skip(1).collect();
    let heard = hear(redis, prefix, &wanted);
    assert!(heard.iter().all(|changed| (changed.user.as_str(), changed.revision) != ("alice", 1)));
    wait_until("all is told", || own.number("SELECT count(*) FROM logcontext_outbox") == 0);
    process.end();
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn what_was_set_aside_is_listed_brought_back_and_forgotten_by_commands() {
    set_aside_and_brought_back(&Own::sqlite());
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn so_is_what_was_on_a_server() {
    set_aside_and_brought_back(&Own::postgres());
}

#[test]
fn where_no_service_has_run_there_is_no_outbox_and_none_is_made() {
    let own = Own::sqlite();
    command(&own, &["list"]).assert_refused(1, &["cannot open"]);
    assert!(!own.file().exists());
    own.sql("CREATE TABLE another (id INTEGER)");
    command(&own, &["list"]).assert_refused(1, &["this database has no outbox"]);
}

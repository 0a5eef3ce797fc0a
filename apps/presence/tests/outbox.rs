//! A change that was acknowledged is told, whatever becomes of the process in between.

mod common;

use std::fs;
use std::net::TcpStream;

use common::process::{How, Process, exchange, folder, wait_until};
use common::{JSON, Own, PATIENCE, text};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::transport::Since;
use logcontext_bus::{Bus, BusConfig};
use logcontext_testservers::Redis;
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

/// What another service hears until it has heard of everybody so often.
fn hear(redis: &Redis, prefix: &str, times: i64) -> Vec<PresenceChanged> {
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
            let is_there = |user, n| heard.iter().any(|c| c.user.as_str() == user && c.revision == n);
            USERS.iter().all(|user| (1..=times).all(|n| is_there(*user, n)))
        };
        while !are_all_there(&heard) {
            heard.push(timeout(PATIENCE, told.recv()).await.expect("none is lost").unwrap());
        }
        bus.close(PATIENCE).await;
        heard
    };
    runtime.block_on(work.in_context(LogContext::new("test")))
}

fn killed_between_commit_and_relay(own: &Own) {
    let redis = Redis::start().unwrap();
    let prefix = redis.fresh_prefix();
    let prefix_setting = format!("presence.bus.prefix={prefix}");
    // Presence does not time out meanwhile: there is one change for each request.
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--bus",
        redis.url(),
        "--database",
        &own.url,
        "--set",
        &prefix_setting,
        "--unavailable-after",
        "1h",
        "--offline-after",
        "1h",
    ];
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
    let heard = hear(&redis, &prefix, 5);
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

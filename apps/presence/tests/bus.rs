//! What others hear of presence by the bus, and may ask.

mod common;

use std::path::Path;

use axum::Router;
use common::process::{Done, How, Process, folder, presence, run as run_command, wait_until};
use common::{JSON, Own, PATIENCE, Settings, set, text};
use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::transport::Since;
use logcontext_bus::{Bus, BusConfig, CallError, OnError};
use logcontext_service::config::PositiveTime;
use logcontext_testservers::{Redis, Stop};
use presence::bus::{GetPresence, GetPresenceError, PresenceChanged};
use presence::presence::State;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Waits until the service has done what it does beside its answers.
async fn until(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("in time");
}

fn has_logged(test: &Test, message: &str) -> bool {
    test.records().iter().any(|record| record.message == message)
}

#[test]
fn a_change_is_logged_by_a_process_of_its_own_that_belongs_to_the_request() {
    let own = Own::sqlite();
    let ended = common::run(testing::start(), own.settings(), Router::new(), async |test, address, stop| {
        set(address, "alice", "online").await;
        until(|| has_logged(test, "presence changed")).await;
        stop.send(()).unwrap();
    });
    let audit = ended.records_of("presence changed");
    assert_eq!(audit.len(), 1);
    let context = &audit[0].context;
    assert!(context.name().starts_with("presence.changed-audit-"), "{context}");
    assert_eq!((context.started_by(), context.request_id()), (Some("PUT-1"), Some("PUT-1")));
    assert_eq!((audit[0].field("user"), audit[0].field("presence")), (Some("alice"), Some("online")));
    assert!(context.is_finished());
}

/// The service on this broker, and another service beside it.
fn beside_another(
    redis: &Redis,
    settings: impl FnOnce(&mut Settings),
    other: impl AsyncFnOnce(&Bus, std::net::SocketAddr),
) {
    let (own, prefix) = (Own::sqlite(), redis.fresh_prefix());
    let mut all = own.settings();
    all.server.bus.url = redis.url().parse().unwrap();
    all.server.bus.prefix = prefix.clone();
    settings(&mut all);
    let ended = common::run(testing::start(), all, Router::new(), async |test, address, stop| {
        let context = test.supervisor().context("other").start();
        let work = async {
            let config = BusConfig { prefix, ..BusConfig::new("other", redis.url()) };
            let bus = Bus::connect(&config).await.unwrap();
            other(&bus, address).await;
            bus.close(PATIENCE).await;
        };
        work.in_context(context.clone()).await;
        context.finish();
        stop.send(()).unwrap();
    });
    assert!(ended.stopped.is_clean(), "{:?}", ended.stopped);
}

async fn hear(bus: &Bus) -> mpsc::UnboundedReceiver<PresenceChanged> {
    let (tell, told) = mpsc::unbounded_channel();
    let listener = bus.listen::<PresenceChanged>("test", move |changed: PresenceChanged| {
        let tell = tell.clone();
        async move { tell.send(changed).map_err(|_| "nobody asks any more") }
    });
    listener.in_order().since(Since::Start).start().await.unwrap();
    told
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn another_service_hears_of_changes_and_of_presence_that_times_out_and_may_ask() {
    let soon = |settings: &mut Settings| {
        settings.server.unavailable_after = PositiveTime::from_millis(50);
        settings.server.offline_after = PositiveTime::from_millis(100);
        settings.server.time_out_every = PositiveTime::from_millis(10);
    };
    beside_another(Redis::shared().unwrap(), soon, async |bus, address| {
        let mut heard = hear(bus).await;
        set(address, "alice", "online").await;
        let mut last = None;
        while last.as_ref().is_none_or(|changed: &PresenceChanged| changed.presence != State::Offline) {
            let changed = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
            assert_eq!(changed.user.as_str(), "alice");
            assert!(last.is_none_or(|before| before.revision < changed.revision), "in order");
            last = Some(changed);
        }
        let get = |user: &str| bus.call(GetPresence { user: user.parse().unwrap() });
        let alice = get("alice").await.unwrap();
        assert_eq!((alice.presence, Some(alice.revision)), (State::Offline, last.map(|last| last.revision)));
        assert_eq!(get("bob").await, Err(CallError::Handler(GetPresenceError::UnknownUser)));
    });
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn presence_is_set_also_while_the_broker_is_away() {
    let redis = Redis::start().unwrap();
    beside_another(
        &redis,
        |_| {},
        async |bus, address| {
            let mut heard = hear(bus).await;
            redis.stop(Stop::Immediate);
            set(address, "alice", "online").await;
            redis.start_again();
            let changed = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
            assert_eq!(changed.presence, State::Online, "told when it is back");
        },
    );
}

struct Commands<'a> {
    folder: &'a Path,
    redis: &'a Redis,
    prefix: &'a str,
}

impl Commands<'_> {
    fn bus(&self, arguments: &[&str]) -> Done {
        let setting = format!("presence.bus.prefix={}", self.prefix);
        let mut all = vec!["bus"];
        all.extend(arguments);
        all.extend(["--bus", self.redis.url(), "--set", &setting]);
        run_command(&mut presence(self.folder, &all))
    }

    /// What it prints.
    fn printed(&self, arguments: &[&str]) -> String {
        let done = self.bus(arguments);
        assert_eq!((done.code, &*done.error), (Some(0), ""), "{done:?}");
        done.out
    }
}

/// A letter that is dead because the group's one listener cannot do it.
fn bury(redis: &Redis, prefix: &str, user: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async {
        let config = BusConfig { prefix: prefix.to_owned(), ..BusConfig::new("other", redis.url()) };
        let bus = Bus::connect(&config).await.unwrap();
        let refuse = |_: PresenceChanged| async { Err::<(), _>("cannot\u{1b}[2J do it") };
        let listener = bus.listen::<PresenceChanged>("sender", refuse).on_error(OnError::DeadLetter);
        let listener = listener.start().await.unwrap();
        let last_active = presence::time::Timestamp::now();
        let presence =
            presence::presence::Presence { state: State::Online, status_msg: None, last_active, revision: 1 };
        bus.fire(&PresenceChanged::new(user.parse().unwrap(), presence)).await.unwrap();
        while bus.dead_letter_count("presence.changed").await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        listener.stop();
        listener.stopped().await;
        bus.close(PATIENCE).await;
    };
    let work = work.in_context(LogContext::new("test"));
    runtime.block_on(async { timeout(PATIENCE, work).await.expect("in time") });
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn the_bus_is_looked_after_by_commands() {
    let redis = Redis::shared().unwrap();
    let prefix = redis.fresh_prefix();
    let prefix_setting = format!("presence.bus.prefix={prefix}");
    let arguments =
        ["--listen", "127.0.0.1:0", "--bus", redis.url(), "--set", &prefix_setting, "--log-filter", "info"];
    let process = Process::start(How::Foreground, folder(), &arguments);
    let elsewhere = folder();
    let commands = Commands { folder: elsewhere.path(), redis, prefix: &prefix };

    let refused = commands.bus(&["get", "alice"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.error.contains("nothing is known of this user"), "{refused:?}");
    let body = r#"{"presence": "online", "status_msg": "hi"}"#;
    let put = text("PUT /presence/alice", &[JSON, "x-request-user: alice"], body);
    let answer = common::process::exchange(std::net::TcpStream::connect(process.address()).unwrap(), &put);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let alice = commands.printed(&["get", "alice"]);
    assert!(alice.starts_with(r#"{"presence":"online","status_msg":"hi","last_active":"#), "{alice}");

    wait_until("it was heard of", || commands.printed(&["lag"]).contains("presence.changed  presence:audit"));
    bury(redis, &prefix, "bob");
    let list = commands.printed(&["dead-letters", "list"]);
    let (head, letter) = list.trim_end().split_once('\n').unwrap();
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>().join(" "),
        "EVENT ID SINCE GROUP DELIVERIES REASON"
    );
    assert!(letter.ends_with("cannot\u{fffd}[2J do it"), "{letter:?}");
    let id = letter.split_whitespace().nth(1).unwrap();
    assert_eq!(
        commands.printed(&["dead-letters", "retry", "presence.changed", id]),
        "1 will be tried again\n"
    );
    assert_eq!(commands.printed(&["dead-letters", "list"]).lines().count(), 1);
    let again = commands.bus(&["dead-letters", "drop", "presence.changed", id]);
    assert_eq!(again.code, Some(1));
    assert!(again.error.contains(&format!("there is no dead letter {id}")), "{again:?}");
    bury(redis, &prefix, "carol");
    assert_eq!(commands.printed(&["dead-letters", "drop", "presence.changed", "--all"]), "2 forgotten\n");

    let (_, log) = process.end();
    assert!(log.contains("presence::audit: presence changed"), "{log}");
}

#[test]
fn what_is_said_on_the_bus_is_shown_as_json_schema() {
    let folder = folder();
    let done = run_command(&mut presence(folder.path(), &["bus", "schema", "dump"]));
    assert_eq!((done.code, &*done.error), (Some(0), ""));
    let schemas: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(schemas["events"]["presence.changed"]["partitions"], 8);
    let user = &schemas["rpcs"]["presence.get"]["request"]["$defs"]["UserId"];
    assert_eq!(user["pattern"], "^[a-z0-9._-]{1,64}$");
}

#[test]
fn a_bus_that_is_only_in_the_server_cannot_be_looked_after_from_outside() {
    let folder = folder();
    run_command(&mut presence(folder.path(), &["bus", "lag"]))
        .assert_refused(1, &["memory:", "--bus redis://"]);
    run_command(&mut presence(folder.path(), &["bus", "lag", "--bus", "no url"]))
        .assert_refused(2, &["presence.bus.url", "the URL of a broker"]);
    let secret = run_command(&mut presence(folder.path(), &["serve", "--bus", "rabbit://u:hunter2@x/"]));
    assert_eq!(secret.code, Some(1), "{secret:?}");
    assert!(secret.error.contains("as the URL of a bus") && !secret.error.contains("hunter2"), "{secret:?}");
}

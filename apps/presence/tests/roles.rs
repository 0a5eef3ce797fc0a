//! The service in several processes: what each of them does.

mod common;

use std::net::SocketAddr;

use common::process::{How, Process, exchange, folder, presence, run};
use common::{Events, JSON, PATIENCE, ask, set, text};
use logcontext_testservers::Redis;
use tokio::time::timeout;

/// What the processes of one service have in common.
struct Shared {
    redis: &'static Redis,
    prefix: String,
    folder: tempfile::TempDir,
}

impl Shared {
    fn new() -> Self {
        let redis = Redis::shared().unwrap();
        Self { redis, prefix: redis.fresh_prefix(), folder: folder() }
    }

    fn start(&self, role: &str) -> Process {
        let prefix = format!("presence.bus.prefix={}", self.prefix);
        let database = format!("sqlite:{}?mode=rwc", self.folder.path().join("shared.db").display());
        let arguments = [
            &["--role", role, "--bus", self.redis.url(), "--set", &prefix, "--database", &database][..],
            &["--listen", "127.0.0.1:0", "--log-filter", "info"],
        ];
        Process::start(How::Foreground, folder(), &arguments.concat())
    }
}

fn block_on(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, work).await.expect("in time") });
}

async fn presence_of(address: SocketAddr, user: &str) -> String {
    let answer = ask(address, &format!("GET /presence/{user}"), &[], "").await;
    answer.json()["presence"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn who_answers_users_hears_what_others_have_written() {
    let shared = Shared::new();
    let (one, two) = (shared.start("api"), shared.start("api"));
    block_on(async {
        set(one.address(), "alice", "online").await;
        let mut followed = Events::follow(two.address(), "alice").await;
        assert_eq!(followed.next().await.unwrap()["presence"], "online");
        for state in ["unavailable", "offline", "online"] {
            set(one.address(), "alice", state).await;
            assert_eq!(followed.next().await.unwrap()["presence"], state);
            // It is remembered by who has heard of it.
            assert_eq!(presence_of(two.address(), "alice").await, state);
            // And not by who has set it once another has set something else.
            set(two.address(), "bob", state).await;
            set(one.address(), "bob", "online").await;
            while presence_of(two.address(), "bob").await != "online" {
                tokio::task::yield_now().await;
            }
        }
    });
    let (_, log) = one.end();
    assert!(!log.contains("presence::audit"), "that is the sender's: {log}");
    two.end();
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_sender_answers_who_looks_after_it_and_sees_what_users_do() {
    let shared = Shared::new();
    let (api, sender) = (shared.start("api"), shared.start("sender"));
    let ask = |request: &str| {
        exchange(std::net::TcpStream::connect(sender.address()).unwrap(), &text(request, &[], ""))
    };
    assert!(ask("GET /health").starts_with("HTTP/1.1 200 "));
    let refused = ask("GET /presence/alice");
    assert!(refused.starts_with("HTTP/1.1 404 ") && refused.contains("answers no users"), "{refused}");
    let put = text("PUT /presence/alice", &[JSON, "x-request-user: alice"], r#"{"presence": "online"}"#);
    let answer = exchange(std::net::TcpStream::connect(api.address()).unwrap(), &put);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    common::process::wait_until("it hears of it", || {
        sender.log().contains("presence::audit: presence changed")
    });
    let (_, log) = sender.end();
    assert!(!log.contains("presence timed out"), "that is not the sender's: {log}");
    api.end();
}

#[test]
fn several_processes_need_a_bus_that_they_share() {
    let folder = folder();
    for role in ["api", "sender"] {
        run(&mut presence(folder.path(), &["serve", "--role", role]))
            .assert_refused(2, &["--role", "all, unless presence.bus.url is a broker"]);
    }
    run(&mut presence(folder.path(), &["serve", "--role", "cook"])).assert_refused(2, &["--role", "sender"]);
}

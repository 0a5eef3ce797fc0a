//! A thousand mixed requests, a third of the clients leaving early: nothing leaks, nothing is lost.

mod common;

use std::net::SocketAddr;

use axum::Router;
use common::{Ended, Events, JSON, PATIENCE, ask, on_both_databases, set, text};
use futures_util::{StreamExt, stream};
use logcontext::source::{Buckets, Collector};
use logcontext::{ContextKind, LogContext, Supervisor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUESTS: usize = 1000;
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const ONLINE: &str = r#"{"presence": "online", "status_msg": "in a storm"}"#;

/// One of those who stay for their answer.
async fn stay(address: SocketAddr, n: usize) {
    let user = USERS[n % USERS.len()];
    let status = match n / 3 % 8 {
        0 => ask(address, &format!("PUT /presence/{user}"), &[JSON], ONLINE).await.status == 200,
        1 => ask(address, &format!("PUT /presence/{user}"), &[JSON], "{").await.status == 400,
        2 => ask(address, "GET /presence/nobody", &[], "").await.status == 404,
        3 => ask(address, "DELETE /presence/alice", &[], "").await.status == 405,
        4 => ask(address, "GET /health", &[], "").await.status == 200,
        5 => ask(address, &format!("GET /presence/{user}/history?limit=3"), &[], "").await.status == 200,
        6 => ask(address, "GET /nowhere", &[], "").await.status == 404,
        _ => ask(address, &format!("GET /presence/{user}"), &[], "").await.status == 200,
    };
    assert!(status, "request {n}");
}

/// One of those who leave early.
async fn leave(address: SocketAddr, n: usize) {
    let user = USERS[n % USERS.len()];
    let put = text(&format!("PUT /presence/{user}"), &[JSON], ONLINE);
    match n / 3 % 4 {
        // half of the head, half of the body, all of it, in the middle of a stream
        0 => send_and_leave(address, &put[..20]).await,
        1 => send_and_leave(address, &put[..put.len() - 20]).await,
        2 => send_and_leave(address, &put).await,
        _ => drop(Events::follow(address, user).await.next().await),
    }
}

async fn send_and_leave(address: SocketAddr, text: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// What the pools say of the connections that are in use.
#[derive(Default)]
struct InUse {
    connections: f64,
    pools: usize,
}

impl Collector for InUse {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        if name == "db_pool_connections" && labels.contains(&("state", "in_use")) {
            self.connections += value;
            self.pools += 1;
        }
    }

    fn histogram(&mut self, _: &'static str, _: &[(&'static str, &str)], _: &Buckets) {}
}

/// Waits for it: what nobody waits for any more is rolled back in the background.
async fn the_pool_is_idle(supervisor: &Supervisor) {
    let idle = async {
        loop {
            let mut in_use = InUse::default();
            supervisor.sources().iter().for_each(|source| source.collect(&mut in_use));
            assert!(in_use.pools > 0, "no pool says anything");
            if in_use.connections == 0.0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.expect("connections are still in use");
}

on_both_databases! {
    fn a_thousand_mixed_requests_with_a_third_leaving_early_leave_no_trace(own: Own) {
        let test = logcontext::testing::start();
        let Ended { test, stopped } = common::run(test, own.settings(), Router::new(), async |test, address, stop| {
            for user in USERS {
                set(address, user, "online").await;
            }
            // Two that stay to the end, one of them idle.
            let mut idle = TcpStream::connect(address).await.unwrap();
            let mut events = Events::follow(address, "alice").await;
            assert!(events.next().await.is_some());
            let each =
                |n| async move { if n % 3 == 2 { leave(address, n).await } else { stay(address, n).await } };
            stream::iter(0..REQUESTS).map(each).buffer_unordered(16).collect::<Vec<()>>().await;
            idle.write_all(text("GET /health", &[], "").as_bytes()).await.unwrap();
            idle.read_to_string(&mut String::new()).await.unwrap();
            drop(events);
            the_pool_is_idle(test.supervisor()).await;
            stop.send(()).unwrap();
        });
        assert!(stopped.is_clean(), "{stopped:?}");
        own.assert_nobody_is_connected();
        let history = own.number("SELECT count(*) FROM history");
        assert_eq!(history, own.number("SELECT count(*) FROM presence WHERE status_msg IS NOT NULL") + 4);
        assert!(test.reports().is_empty());

        let totals = test.supervisor().totals();
        let open: Vec<_> = totals.iter().filter(|row| row.in_flight > 0).collect();
        assert!(open.is_empty(), "still in flight: {open:#?}");
        // The records still hold those that have finished.
        let contexts = test.supervisor().contexts();
        assert!(contexts.iter().all(LogContext::is_finished), "{contexts:?}");
        let requests: Vec<_> = totals.iter().filter(|row| row.kind == ContextKind::Request).collect();
        // Of those who left before the end of the head nobody knows that they wanted something.
        let (seen, stayed) = (requests.iter().map(|row| row.started).sum::<u64>(), 667 + 4 + 2);
        assert!((stayed..=stayed + 333).contains(&seen), "{seen} requests");
        assert!(requests.iter().map(|row| row.cancelled).sum::<u64>() > 0, "nobody was seen to leave");
        assert!(requests.iter().all(|row| row.failed == 0 && row.panicked == 0), "{requests:#?}");
    }
}

//! The outbox over Redis: a broker that dies in the middle, that freezes, and that is full.

#![cfg(all(feature = "outbox", feature = "redis"))]

mod stored;
mod support;

use std::collections::{BTreeMap, HashSet};

use logcontext_bus::transport::{EventId, Page, Redis};
use logcontext_bus::{Bus, OutboxConfig};
use logcontext_testservers::{self as servers, Stop};
use stored::{Own, Process, Set, figure, fire, number, quick, rows, set, until, with};

const KEYS: u64 = 20;

/// All that the broker has, each partition in its order.
async fn kept(bus: &Bus) -> Vec<Set> {
    let (mut all, mut before) = (Vec::<(u16, EventId, Set)>::new(), None);
    loop {
        let page = bus.history("presence.set", Page { before, limit: 1_000 }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        let is_last = page.len() < 1_000;
        all.extend(
            page.iter().map(|past| (past.partition, past.id, serde_json::from_str(&past.body).unwrap())),
        );
        if is_last {
            break;
        }
    }
    all.sort_by_key(|(partition, id, _)| (*partition, *id));
    all.into_iter().map(|(.., set)| set).collect()
}

#[track_caller]
fn assert_none_is_lost_and_keys_are_in_order(kept: &[Set], count: u64) {
    let mut seen = HashSet::new();
    let mut keys = BTreeMap::<&str, Vec<u64>>::new();
    for set in kept.iter().filter(|set| seen.insert(set.n)) {
        keys.entry(&set.user).or_default().push(set.n);
    }
    assert_eq!(seen.len() as u64, count, "of {} that are kept", kept.len());
    for (user, numbers) in keys {
        assert!(numbers.is_sorted(), "{user}: {numbers:?}");
    }
}

fn events(count: u64) -> Vec<Set> {
    (0..count).map(|n| set(&format!("user-{}", n % KEYS), n)).collect()
}

stored::on_both_databases! {
    #[ignore = "needs Redis: cargo xtask test"]
    fn a_broker_that_dies_in_the_middle_gets_all_that_was_stored(own: Own) {
        let server = servers::Redis::start().unwrap();
        with(&own, async |url, _| {
            let one = Process::start(&url, &Redis::new(server.url()).unwrap(), quick()).await;
            // More than one batch: it is in the middle when it dies.
            fire(&one.database, &one.bus, &events(3_000)).await.unwrap();
            for _ in 0..3 {
                let left = rows(&one.database).await;
                until("some are sent", async || rows(&one.database).await < left || left == 0).await;
                logcontext::block_in_place(|| {
                    server.stop(Stop::Immediate);
                    server.start_again();
                });
            }
            until("all are sent", async || rows(&one.database).await == 0).await;
            assert_eq!(number(&one.database, "SELECT count(*) FROM logcontext_outbox_aside").await, 0);
            assert_none_is_lost_and_keys_are_in_order(&kept(&one.bus).await, 3_000);
            one.end().await;
        });
    }

    #[ignore = "needs Redis: cargo xtask test"]
    fn a_broker_that_is_full_sets_nothing_aside(own: Own) {
        let server = servers::Redis::start().unwrap();
        with(&own, async |url, _| {
            let config = OutboxConfig { max_refusals: 1, ..quick() };
            let one = Process::start(&url, &Redis::new(server.url()).unwrap(), config).await;
            until("it is there", async || one.bus.status().connected.is_ok()).await;
            server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
            fire(&one.database, &one.bus, &events(100)).await.unwrap();
            let failures = || figure(&one.supervisor, "outbox_relay_failures");
            until("it has tried", async || failures() >= Some(3.0)).await;
            assert_eq!(rows(&one.database).await, 100);
            server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
            until("all are sent", async || rows(&one.database).await == 0).await;
            assert_eq!(figure(&one.supervisor, "outbox_refusals"), Some(0.0));
            assert_none_is_lost_and_keys_are_in_order(&kept(&one.bus).await, 100);
            one.end().await;
        });
    }

    #[ignore = "needs Redis: cargo xtask test"]
    fn a_stream_that_is_none_is_refused_and_its_events_are_set_aside(own: Own) {
        let server = servers::Redis::start().unwrap();
        with(&own, async |url, _| {
            let config = OutboxConfig { max_refusals: 2, ..quick() };
            let one = Process::start(&url, &Redis::new(server.url()).unwrap(), config).await;
            fire(&one.database, &one.bus, &[set("alice", 1)]).await.unwrap();
            until("it is sent", async || rows(&one.database).await == 0).await;
            let found = server.ask(&["KEYS", "*presence.set*"]);
            let Some(stream) = found.iter().find(|key| server.ask(&["TYPE", key]) == ["stream"]) else {
                panic!("{found:?}")
            };
            server.ask(&["DEL", stream]);
            server.ask(&["SET", stream, "something else"]);
            fire(&one.database, &one.bus, &[set("alice", 2)]).await.unwrap();
            let aside = async || one.outbox.set_aside(10).await.unwrap();
            until("it is set aside", async || !aside().await.is_empty()).await;
            assert!(aside().await[0].reason.contains("WRONGTYPE"), "{:?}", aside().await);
            server.ask(&["DEL", stream]);
            one.outbox.bring_back(aside().await[0].id).await.unwrap();
            until("it is sent", async || rows(&one.database).await == 0).await;
            assert_eq!(kept(&one.bus).await, [set("alice", 2)]);
            one.end().await;
        });
    }
}

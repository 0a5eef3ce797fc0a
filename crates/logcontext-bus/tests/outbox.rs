//! Events that are stored with the data.

#![cfg(feature = "outbox")]

mod stored;
mod support;

use std::collections::HashMap;

use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext, Request, current_context};
use logcontext_bus::transport::Page;
use logcontext_bus::{Bus, BusConfig, FireInError, Outbox};
use logcontext_db::{Backend, Error};
use stored::broker::Broker;
use stored::{
    Own, PATIENCE, Set, fire, hear, next, number, open, quick, rows, set, soon, until, with, with_and,
};

async fn memory() -> Bus {
    Bus::connect(&BusConfig::new("presence", "memory:")).await.unwrap()
}

fn keys_in_order(events: &[Set]) -> bool {
    let mut last = HashMap::new();
    events.iter().all(|set| last.insert(&set.user, set.n).is_none_or(|before| before < set.n))
}

stored::on_both_databases! {
    fn what_was_committed_is_heard_and_belongs_to_the_request_that_fired_it(own: Own) {
        with(&own, async |url, _| {
            let (database, bus) = (open(&url).await, memory().await);
            let outbox = Outbox::open(&bus, &database).await.unwrap();
            let (tell, mut told) = support::tell();
            let listener = bus.listen::<Set>("test", move |_: Set| {
                let context = current_context();
                let by = context.started_by().map(str::to_owned);
                std::future::ready(tell.send((by, context.request_id().map(str::to_owned))))
            });
            listener.start().await.unwrap();
            let request = LogContext::builder("PUT-1").request(Request::new("PUT", "/").id("abc")).start();
            fire(&database, &bus, &[set("alice", 1)]).in_context(request.clone()).await.unwrap();
            let heard = soon("it is heard", told.recv()).await.unwrap();
            assert_eq!(heard, (Some("PUT-1".to_owned()), Some("abc".to_owned())));
            until("it is forgotten", async || rows(&database).await == 0).await;
            assert_eq!(request.usage().db_txn_count, 1, "the relay's transactions are its own");
            outbox.close(PATIENCE).await;
            bus.close(PATIENCE).await;
            database.close(PATIENCE).await;
        });
    }

    fn a_transaction_that_does_not_go_through_leaves_nothing(own: Own) {
        with(&own, async |url, _| {
            let (database, bus) = (open(&url).await, memory().await);
            let _outbox = Outbox::open_with(&bus, &database, quick()).await.unwrap();
            let mut heard = hear(&bus).await;
            let bus = &bus;
            let failed = database.run_interaction("fail", |mut txn| async move {
                bus.fire_in(&mut txn, &set("alice", 1)).await?;
                assert_eq!(txn.query_one("SELECT count(*) FROM logcontext_outbox", ()).await?.get::<i64>(0)?, 1);
                Err::<(), _>(FireInError::NoOutbox)
            });
            assert!(matches!(failed.await, Err(FireInError::NoOutbox)));
            let panicked = database.run_interaction("panic", |mut txn| async move {
                bus.fire_in(&mut txn, &set("alice", 2)).await?;
                if txn.name() == "panic" {
                    panic!("on purpose");
                }
                Ok::<(), FireInError>(())
            });
            let panicked = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(panicked)).await;
            assert!(panicked.is_err());
            let cancelled = database.run_interaction("cancel", |mut txn| async move {
                bus.fire_in(&mut txn, &set("alice", 3)).await?;
                std::future::pending::<()>().await;
                Ok::<(), FireInError>(())
            });
            let short = std::time::Duration::from_millis(100);
            assert!(tokio::time::timeout(short, cancelled).await.is_err());
            // The only one.
            fire(&database, bus, &[set("alice", 4)]).await.unwrap();
            assert_eq!(next(&mut heard).await, set("alice", 4));
            until("all is sent", async || rows(&database).await == 0).await;
            assert_eq!(number(&database, "SELECT count(*) FROM logcontext_outbox_aside").await, 0);
            assert!(heard.try_recv().is_err());
            database.close(PATIENCE).await;
        });
    }

    fn what_cannot_be_fired_is_refused_before_anything_is_written(own: Own) {
        with(&own, async |url, _| {
            let database = open(&url).await;
            let config = BusConfig { max_message: 1_000, ..BusConfig::new("presence", "memory:") };
            let bus = Bus::connect(&config).await.unwrap();
            let refused = |event: Set| {
                let (database, bus) = (database.clone(), bus.clone());
                async move {
                    let (bus, event) = (&bus, &event);
                    database.run_interaction("fire", |mut txn| async move {
                        let fired = bus.fire_in(&mut txn, event).await;
                        // The transaction is as it was.
                        txn.query_one("SELECT 1", ()).await?;
                        Ok::<_, Error>(fired.map_err(|error| error.to_string()))
                    }).await.unwrap()
                }
            };
            let no_outbox = refused(set("alice", 1)).await.unwrap_err();
            assert!(no_outbox.contains("expected one to be opened"), "{no_outbox}");
            let _outbox = Outbox::open(&bus, &database).await.unwrap();
            let too_large = refused(set(&"x".repeat(1_000), 1)).await.unwrap_err();
            assert!(too_large.contains("expected at most 1000"), "{too_large}");
            assert_eq!(rows(&database).await, 0);
            assert_eq!(refused(set("alice", 1)).await, Ok(()));
            database.close(PATIENCE).await;
        });
    }

    fn ten_thousand_come_once_each_and_those_of_each_key_in_order(own: Own) {
        with(&own, async |url, _| {
            let (database, broker) = (open(&url).await, Broker::default());
            let bus = Bus::over(&BusConfig::new("presence", "memory:"), &broker).unwrap();
            let _outbox = Outbox::open_with(&bus, &database, quick()).await.unwrap();
            let mut all = Vec::new();
            for batch in 0..100_u64 {
                // Keys of many turns, and of few.
                let events: Vec<_> =
                    (0..100).map(|i| set(&format!("user-{}", i * i % 37), batch * 100 + i)).collect();
                fire(&database, &bus, &events).await.unwrap();
                all.extend(events);
            }
            until("all are sent", async || rows(&database).await == 0).await;
            let mut published = broker.published();
            assert!(keys_in_order(&published));
            assert!(!broker.were_two_of_one_key_under_way());
            assert!(broker.most() <= 128);
            published.sort_by_key(|set| set.n);
            assert!(published == all, "{} of {} came", published.len(), all.len());
            database.close(PATIENCE).await;
        });
    }

    fn many_that_open_it_at_once_make_its_tables_once(own: Own) {
        with(&own, async |url, supervisor| {
            let bus = memory().await;
            let opening = (0..8).map(|_| async {
                let database = open(&url).await;
                let outbox = Outbox::open_with(&bus, &database, quick()).await.unwrap();
                (database, outbox)
            });
            let opened = futures_util::future::join_all(opening).await;
            fire(&opened[0].0, &bus, &[set("alice", 1)]).await.unwrap();
            until("it is sent", async || rows(&opened[0].0).await == 0).await;
            assert_eq!(stored::figure(&supervisor, "outbox_relay_seconds"), Some(1.0));
            for (database, outbox) in opened {
                outbox.close(PATIENCE).await;
                database.close(PATIENCE).await;
            }
        });
    }

    fn what_is_sent_again_is_the_same_message(own: Own) {
        with(&own, async |url, _| {
            let (database, broker) = (open(&url).await, Broker::default());
            let bus = Bus::over(&BusConfig::new("presence", "memory:"), &broker).unwrap();
            let outbox = Outbox::open_with(&bus, &database, quick()).await.unwrap();
            broker.refuse("alice", "no");
            fire(&database, &bus, &[set("alice", 1)]).await.unwrap();
            let stored = until_some(async || {
                let row = database.query_optional("look", "SELECT head FROM logcontext_outbox", ()).await;
                row.unwrap().map(|row| row.get::<Vec<u8>>(0).unwrap())
            });
            let stored: serde_json::Value = serde_json::from_slice(&stored.await).unwrap();
            assert_eq!(stored["id"].as_str().unwrap().len(), 32);
            assert_eq!((&stored["key"], &stored["from"]["context"]), (&"alice".into(), &"test".into()));
            broker.refuse_none();
            until("it is sent", async || rows(&database).await == 0).await;
            let history = bus.history("presence.set", Page { before: None, limit: 10 }).await.unwrap();
            assert_eq!(history.len(), 1);
            assert_eq!(history[0].key.as_deref(), Some("alice"));
            outbox.close(PATIENCE).await;
            database.close(PATIENCE).await;
        });
    }
}

async fn until_some<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let watch = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    soon("it is there", watch).await
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_transaction_that_is_tried_again_leaves_one() {
    with(&Own::postgres(), async |url, _| {
        let (database, broker) = (open(&url).await, Broker::default());
        let bus = &Bus::over(&BusConfig::new("presence", "memory:"), &broker).unwrap();
        let _outbox = Outbox::open_with(bus, &database, quick()).await.unwrap();
        let mut tries = 0;
        let fired = database.run_interaction("fire", |mut txn| {
            tries += 1;
            let n = tries;
            async move {
                bus.fire_in(&mut txn, &set("alice", n)).await?;
                if n < 3 {
                    let conflict = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$";
                    txn.execute_script(conflict).await?;
                }
                Ok::<_, FireInError>(())
            }
        });
        fired.await.unwrap();
        until("it is sent", async || rows(&database).await == 0).await;
        assert_eq!(broker.published(), [set("alice", 3)]);
        database.close(PATIENCE).await;
    });
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn an_event_whose_transaction_takes_long_is_not_passed_over() {
    with(&Own::postgres(), async |url, _| {
        let (database, broker) = (open(&url).await, Broker::default());
        let bus = &Bus::over(&BusConfig::new("presence", "memory:"), &broker).unwrap();
        let _outbox = Outbox::open_with(bus, &database, quick()).await.unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let (go, may_go) = tokio::sync::oneshot::channel();
        let mut once = Some((tell, may_go));
        let slow = database.run_interaction("slow", |mut txn| {
            let (tell, may_go) = once.take().expect("tried once");
            async move {
                assert_eq!(txn.backend(), Backend::Postgres);
                bus.fire_in(&mut txn, &set("alice", 1)).await?;
                tell.send(()).unwrap();
                may_go.await.unwrap();
                Ok::<_, FireInError>(())
            }
        });
        let others = async {
            told.await.unwrap();
            fire(&database, bus, &[set("bob", 2)]).await.unwrap();
            until("the later one is sent", async || broker.published() == [set("bob", 2)]).await;
            go.send(()).unwrap();
        };
        let (slow, ()) = tokio::join!(slow, others);
        slow.unwrap();
        until("so is the earlier one", async || broker.published() == [set("bob", 2), set("alice", 1)]).await;
        database.close(PATIENCE).await;
    });
}

#[test]
fn an_event_is_fired_by_somebody() {
    let own = Own::sqlite();
    let test = with_and(&own, async |url, _| {
        let (database, bus) = (open(&url).await, memory().await);
        let _outbox = Outbox::open_with(&bus, &database, quick()).await.unwrap();
        let mut heard = hear(&bus).await;
        fire(&database, &bus, &[set("alice", 1)]).in_context(LogContext::sentinel()).await.unwrap();
        assert_eq!(next(&mut heard).await, set("alice", 1));
        database.close(PATIENCE).await;
    });
    assert_eq!(test.take(DiagnosticKind::CommandFromSentinel).len(), 1);
    assert_eq!(test.take(DiagnosticKind::TransactionFromSentinel).len(), 1);
}

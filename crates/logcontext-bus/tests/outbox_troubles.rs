//! Events that cannot be sent, and a broker that is not there.

#![cfg(feature = "outbox")]

mod stored;
mod support;

use std::time::Duration;

use logcontext::testing::Record;
use logcontext_bus::{BusConfig, Outbox, OutboxConfig};
use stored::broker::Broker;
use stored::{Own, Process, figure, fire, number, open, quick, rows, set, until, with, with_and};

fn impatient() -> OutboxConfig {
    OutboxConfig { max_refusals: 3, ..quick() }
}

fn of_message<'a>(records: &'a [Record], message: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.message == message).collect()
}

const ASIDE: &str = "SELECT count(*) FROM logcontext_outbox_aside";

stored::on_both_databases! {
    fn what_the_broker_refuses_again_and_again_is_set_aside_and_can_be_brought_back(own: Own) {
        let test = with_and(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, impatient()).await;
            broker.refuse("mallory", "no\u{1b}[2J such thing");
            let all = [set("mallory", 1), set("mallory", 2), set("alice", 3), set("bob", 4)];
            fire(&one.database, &one.bus, &all).await.unwrap();
            until("the others are sent", async || broker.published() == [set("alice", 3), set("bob", 4)]).await;
            until("both are set aside", async || number(&one.database, ASIDE).await == 2).await;
            assert_eq!(rows(&one.database).await, 0);
            let aside = one.outbox.set_aside(10).await.unwrap();
            assert_eq!((&*aside[0].event, aside[0].key.as_deref()), ("presence.set", Some("mallory")));
            assert_eq!(aside[0].reason, "no\u{fffd}[2J such thing");
            assert_eq!((&*aside[0].body, aside[0].context.as_deref()), (r#"{"user":"mallory","n":1}"#, Some("test")));
            assert!(aside[0].since >= aside[0].at);
            until("it shows", async || figure(&one.supervisor, "outbox_set_aside") == Some(2.0)).await;
            assert_eq!(figure(&one.supervisor, "outbox_refusals"), Some(6.0), "three times each");
            broker.refuse_none();
            assert!(one.outbox.bring_back(aside[0].id).await.unwrap());
            assert!(!one.outbox.bring_back(aside[0].id).await.unwrap());
            until("it is sent", async || broker.published().contains(&set("mallory", 1))).await;
            // As a command does, which sends nothing itself.
            let looked_after = Outbox::without_relay(&one.database).await.unwrap();
            assert_eq!(looked_after.set_aside(10).await.unwrap(), aside[1..]);
            assert!(looked_after.forget(aside[1].id).await.unwrap());
            assert!(!looked_after.forget(aside[1].id).await.unwrap());
            looked_after.close(Duration::from_secs(3600)).await;
            assert_eq!(number(&one.database, ASIDE).await, 0);
            one.end().await;
        });
        let records = test.records();
        let said = of_message(&records, "an event could not be sent, and was set aside");
        assert_eq!(said.len(), 2, "once each");
        assert!(said.iter().all(|record| record.context.name().starts_with("outbox_relay-")));
    }

    fn a_refusal_that_passes_keeps_the_order(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, OutboxConfig { max_refusals: 1_000, ..quick() }).await;
            broker.refuse("alice", "no");
            let all = [set("alice", 1), set("alice", 2), set("bob", 3)];
            fire(&one.database, &one.bus, &all).await.unwrap();
            until("it was tried again", async || figure(&one.supervisor, "outbox_refusals") >= Some(4.0)).await;
            assert_eq!(broker.published(), [set("bob", 3)], "nothing later of the same key");
            broker.refuse_none();
            until("all are sent", async || rows(&one.database).await == 0).await;
            assert_eq!(broker.published(), [set("bob", 3), set("alice", 1), set("alice", 2)]);
            one.end().await;
        });
    }

    fn what_was_refused_is_not_tried_again_with_whatever_else_comes(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, OutboxConfig { max_refusals: 1_000, ..quick() }).await;
            broker.refuse("alice", "no");
            fire(&one.database, &one.bus, &[set("alice", 1)]).await.unwrap();
            let refusals = || figure(&one.supervisor, "outbox_refusals").unwrap_or(0.0);
            until("its pauses are long", async || refusals() >= 6.0).await;
            let before = refusals();
            for n in 0..40 {
                fire(&one.database, &one.bus, &[set("bob", n)]).await.unwrap();
                until("it is sent", async || broker.published().len() as u64 == n + 1).await;
            }
            // Its pauses double up to seconds: so often would take more than a minute.
            let more = refusals() - before;
            assert!(more < 20.0, "{more} times");
            broker.refuse_none();
            until("all are sent", async || rows(&one.database).await == 0).await;
            one.end().await;
        });
    }

    fn what_is_brought_back_is_sent_before_what_came_later_and_waits(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, impatient()).await;
            broker.refuse("alice", "no");
            fire(&one.database, &one.bus, &[set("alice", 1)]).await.unwrap();
            until("it is set aside", async || number(&one.database, ASIDE).await == 1).await;
            broker.refuse_none();
            // Nobody sends until it is back.
            one.outbox.close(stored::PATIENCE).await;
            fire(&one.database, &one.bus, &[set("alice", 2), set("alice", 3)]).await.unwrap();
            let aside = one.outbox.set_aside(10).await.unwrap();
            assert!(one.outbox.bring_back(aside[0].id).await.unwrap());
            assert_eq!(rows(&one.database).await, 3);
            let two = Process::start(&url, &broker, quick()).await;
            until("all are sent", async || rows(&two.database).await == 0).await;
            assert_eq!(broker.published(), [set("alice", 1), set("alice", 2), set("alice", 3)]);
            one.end().await;
            two.end().await;
        });
    }

    fn what_the_broker_says_of_itself_is_no_events_fault(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, OutboxConfig { max_refusals: 1, ..quick() }).await;
            broker.refuse("alice", "FULL up");
            fire(&one.database, &one.bus, &[set("alice", 1)]).await.unwrap();
            until("it was tried again", async || figure(&one.supervisor, "outbox_relay_failures") >= Some(3.0)).await;
            assert_eq!((rows(&one.database).await, number(&one.database, ASIDE).await), (1, 0));
            broker.refuse_none();
            until("it is sent", async || broker.published() == [set("alice", 1)]).await;
            one.end().await;
        });
    }

    fn a_row_that_cannot_be_read_keeps_no_other_from_being_sent(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, quick()).await;
            one.outbox.close(stored::PATIENCE).await;
            let all: Vec<_> = (0..6).map(|n| set("alice", n)).collect();
            fire(&one.database, &one.bus, &all).await.unwrap();
            let low = number(&one.database, "SELECT min(id) FROM logcontext_outbox").await;
            for (sql, id) in [
                ("UPDATE logcontext_outbox SET head = body WHERE id = $1", low),
                ("UPDATE logcontext_outbox SET event = 'no name' WHERE id = $1", low + 1),
                ("UPDATE logcontext_outbox SET event = 'presence.other' WHERE id = $1", low + 2),
                ("UPDATE logcontext_outbox SET partition_no = 256 WHERE id = $1", low + 3),
            ] {
                one.database.execute("spoil", sql, (id,)).await.unwrap();
            }
            let two = Process::start(&url, &broker, quick()).await;
            until("the others are sent", async || broker.published() == [set("alice", 4), set("alice", 5)]).await;
            until("it is empty", async || rows(&two.database).await == 0).await;
            let aside = two.outbox.set_aside(10).await.unwrap();
            let reasons: Vec<_> = aside.iter().map(|aside| aside.reason.as_str()).collect();
            assert!(reasons[0].starts_with("its head cannot be read: missing field"), "{reasons:?}");
            assert!(reasons[1].contains("cannot be the name of an event"), "{reasons:?}");
            assert_eq!(reasons[2], "its head is that of presence.set: expected presence.other");
            assert_eq!(reasons[3], "its partition is none: expected 0 to 255");
            one.end().await;
            two.end().await;
        });
    }

    fn one_that_is_longer_than_is_sent_is_set_aside(own: Own) {
        with(&own, async |url, supervisor| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, quick()).await;
            one.outbox.close(stored::PATIENCE).await;
            fire(&one.database, &one.bus, &[set(&"x".repeat(2_000), 1), set("alice", 2)]).await.unwrap();
            let config = BusConfig { max_message: 1_000, ..BusConfig::new("presence", "memory:") };
            let bus = logcontext_bus::Bus::over(&config, &broker).unwrap();
            let database = open(&url).await;
            let outbox = Outbox::open_with(&bus, &database, quick()).await.unwrap();
            until("the other one is sent", async || broker.published() == [set("alice", 2)]).await;
            until("it is set aside", async || figure(&supervisor, "outbox_set_aside") == Some(1.0)).await;
            let aside = outbox.set_aside(10).await.unwrap();
            assert!(aside[0].reason.ends_with("bytes long: expected at most 1000"), "{aside:?}");
            outbox.close(stored::PATIENCE).await;
            database.close(stored::PATIENCE).await;
            one.end().await;
        });
    }

    fn while_the_broker_is_away_events_wait_and_it_is_said_once(own: Own) {
        let test = with_and(&own, async |url, test| {
            let broker = Broker::default();
            let config = OutboxConfig { warn_after: Duration::from_millis(50), ..quick() };
            let one = Process::start(&url, &broker, config).await;
            broker.is_away(true);
            fire(&one.database, &one.bus, &[set("alice", 1), set("alice", 2)]).await.unwrap();
            until("they are counted", async || figure(&one.supervisor, "outbox_rows") == Some(2.0)).await;
            let oldest = || figure(&one.supervisor, "outbox_oldest_seconds");
            until("the oldest gets older", async || oldest() > Some(0.2)).await;
            until("it is said", async || {
                !of_message(&test.records(), "events wait in the outbox for long").is_empty()
            })
            .await;
            broker.is_away(false);
            until("all are sent", async || rows(&one.database).await == 0).await;
            assert_eq!(broker.published(), [set("alice", 1), set("alice", 2)]);
            until("nothing waits", async || {
                (figure(&one.supervisor, "outbox_rows"), oldest()) == (Some(0.0), Some(0.0))
            })
            .await;
            // Said in the next round.
            fire(&one.database, &one.bus, &[set("alice", 3)]).await.unwrap();
            until("it is sent", async || broker.published().len() == 3).await;
            one.end().await;
        });
        let records = test.records();
        let warned = of_message(&records, "events wait in the outbox for long");
        assert_eq!(warned.len(), 1);
        assert_eq!((warned[0].field("rows"), warned[0].field("broker")), (Some("2"), Some("it is away")));
        assert_eq!(of_message(&records, "the outbox has drained").len(), 1);
    }
}

#[test]
fn what_sqlite_lets_into_a_column_of_numbers_keeps_no_other_from_being_sent() {
    with(&Own::sqlite(), async |url, _| {
        let broker = Broker::default();
        let one = Process::start(&url, &broker, quick()).await;
        one.outbox.close(stored::PATIENCE).await;
        fire(&one.database, &one.bus, &[set("alice", 1), set("alice", 2), set("alice", 3)]).await.unwrap();
        for sql in [
            "UPDATE logcontext_outbox SET lane = 'a lane', at = 'once' WHERE id = 1",
            "UPDATE logcontext_outbox SET partition_no = x'00ff', size = 'none' WHERE id = 2",
        ] {
            assert_eq!(one.database.execute("spoil", sql, ()).await.unwrap(), 1);
        }
        let two = Process::start(&url, &broker, quick()).await;
        until("the other one is sent", async || broker.published() == [set("alice", 3)]).await;
        until("it is empty", async || rows(&two.database).await == 0).await;
        assert_eq!(two.outbox.set_aside(10).await.unwrap().len(), 2);
        one.end().await;
        two.end().await;
    });
}

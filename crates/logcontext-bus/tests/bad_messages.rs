//! Messages that are none: dead letters at once, logged once, counted; and the listener goes on.
mod support;

use logcontext_bus::transport::{Connector, Inbox, Link, Message, Publish};
use logcontext_bus::{BusConfig, Event, Listen, OnError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::figures::Figures;
use support::{Changed, World, changed, complaints, done, on_both_and, tell};

const NAME: &str = "presence.changed";
const GROUP: &str = "presence:sender";

/// What it means by itself must be between 1 and 9.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Level {
    #[schemars(range(min = 1, max = 9))]
    level: u8,
}

impl Event for Level {
    const NAME: &str = "level";
}

const HEAD: &str =
    r#"{"wire":1,"event":"presence.changed","version":1,"id":"17","from":{"sender":"them/1"}}"#;

fn with(from: &str, to: &str) -> String {
    assert!(HEAD.contains(from));
    HEAD.replace(from, to)
}

/// Each with why it cannot be read, and whether it is known who has sent it.
fn bad() -> Vec<(Message, &'static str, bool)> {
    let fine = r#"{"user":"alice","n":1}"#;
    let message = |head: &str, body: &str| Message {
        head: head.to_owned().into_bytes().into(),
        body: body.to_owned().into_bytes().into(),
    };
    vec![
        (message("", ""), "its head: EOF", false),
        (message("not JSON", fine), "its head: expected ident", false),
        (message("{}", fine), "its head: missing field `wire`", false),
        (message(r#"{"from":{"sender":"them/1"}}"#, fine), "its head: missing field", true),
        (message(&with(r#""wire":1"#, r#""wire":2"#), fine), "its wire is of version 2: expected 1", true),
        (message(&with(NAME, "other"), fine), "is called other: expected presence.changed", true),
        (message(&with(r#""version":1"#, r#""version":7"#), fine), "is of version 7: expected 1", true),
        (message(HEAD, ""), "EOF", true),
        (message(HEAD, "not JSON"), "expected ident", true),
        (message(HEAD, "[1,2"), "invalid", true),
        (message(HEAD, r#"{"user":"alice"}"#), "missing field `n`", true),
        (message(HEAD, r#"{"user":"alice","n":"x"}"#), "n: invalid type: string \"x\", expected u64", true),
        (message(HEAD, &format!("\"{}\"", "x".repeat(2_000))), "bytes long: expected at most 1000", false),
        (
            Message { head: HEAD.to_owned().into_bytes().into(), body: vec![0xff, 0xfe, 0].into() },
            "expected value",
            true,
        ),
    ]
}

/// Puts in what no bus of ours sends.
async fn put(world: &World, event: &'static str, message: Message) {
    let link = Link {
        config: World::config(),
        identity: "them/1".into(),
        inbox: std::sync::Arc::new(Inbox::default()),
        supervisor: world.supervisor.clone(),
    };
    let transport = world.broker.connect(link).unwrap();
    let publish = Publish { event, partition: 0, message };
    transport.events().publish(publish).await.unwrap();
}

fn each_way(policy: OnError) {
    for is_blocking in [false, true] {
        on_both_and(
            |world| async move {
                let bus = world.bus_with(|config| BusConfig { max_message: 1_000, ..config });
                let (tell, mut told) = tell();
                let handler = move |event: Changed| {
                    let _ = tell.send(event.n);
                };
                let listen: Listen = if is_blocking {
                    bus.listen_blocking("sender", handler)
                } else {
                    bus.listen("sender", move |event: Changed| {
                        handler(event);
                        async {}
                    })
                };
                listen.on_error(policy).in_order().start().await.unwrap();
                let bad = bad();
                for (message, ..) in &bad {
                    put(&world, NAME, message.clone()).await;
                }
                bus.fire(&changed("alice", 17)).await.unwrap();
                assert_eq!(told.recv().await, Some(17));
                done(&bus, NAME, GROUP).await;
                assert!(told.try_recv().is_err(), "no bad one is handled");
                let letters = bus.dead_letters(NAME, 100).await.unwrap();
                assert_eq!(letters.len(), bad.len());
                for (message, why, _) in &bad {
                    let body = String::from_utf8_lossy(&message.body);
                    let found =
                        letters.iter().any(|letter| letter.body == body && letter.reason.contains(why));
                    assert!(found, "{why}: {letters:?}");
                }
                let counted = Figures::of(&world.supervisor);
                assert_eq!(
                    counted.value("bus_events_handled", &[("outcome", "bad_message")]),
                    bad.len() as f64
                );
            },
            |test| {
                let complaints = complaints(test);
                assert_eq!(complaints.len(), bad().len(), "{complaints:?}");
                for (_, why, is_known) in bad() {
                    let found = complaints.iter().filter(|record| {
                        let sender = record.field("sender").unwrap();
                        record.field("error").unwrap().contains(why)
                            && (!is_known || sender == "them/1")
                            && record.message == "cannot be read: it is a dead letter now"
                    });
                    assert!(found.count() >= 1, "{why}: {complaints:?}");
                }
            },
        );
    }
}

#[test]
fn whatever_comes_the_listener_goes_on_and_each_is_a_dead_letter_logged_once() {
    for policy in [OnError::DeadLetter, OnError::Ignore, OnError::AcknowledgeAndLog] {
        each_way(policy);
    }
}

#[test]
fn also_where_a_failure_would_stop_the_listener_or_the_service() {
    for policy in [OnError::StopListener, OnError::Shutdown] {
        each_way(policy);
    }
}

#[test]
fn what_the_schema_says_beyond_the_type_is_checked_on_both_sides() {
    on_both_and(
        |world| async move {
            let bus = world.bus();
            let (tell, mut told) = tell();
            let handler = move |event: Level| {
                let _ = tell.send(event.level);
                async {}
            };
            bus.listen::<Level>("sender", handler).start().await.unwrap();
            let refused = bus.fire(&Level { level: 10 }).await.unwrap_err().to_string();
            assert!(refused.contains("level: 10 is greater than the maximum of 9"), "{refused}");
            let head = HEAD.replace(NAME, "level");
            let message = Message { head: head.into_bytes().into(), body: br#"{"level":0}"#.to_vec().into() };
            put(&world, "level", message).await;
            bus.fire(&Level { level: 9 }).await.unwrap();
            assert_eq!(told.recv().await, Some(9));
            done(&bus, "level", GROUP).await;
            let letters = bus.dead_letters("level", 10).await.unwrap();
            assert_eq!(letters[0].reason, "level: 0 is less than the minimum of 1");
        },
        |test| assert_eq!(complaints(test).len(), 1),
    );
}

#[test]
fn a_dead_letter_that_is_bad_can_be_dropped_and_one_that_is_retried_is_one_again() {
    on_both_and(
        |world| async move {
            let bus = world.bus();
            bus.listen("sender", |_: Changed| async {}).start().await.unwrap();
            put(&world, NAME, Message { head: "x".into(), body: "y".into() }).await;
            let letter = loop {
                if let Some(letter) = bus.dead_letters(NAME, 10).await.unwrap().pop() {
                    break letter;
                }
                tokio::task::yield_now().await;
            };
            assert_eq!((letter.sender, &*letter.body), (None, "y"));
            assert!(bus.retry_dead_letter(NAME, letter.id).await.unwrap());
            let again = loop {
                if let Some(letter) = bus.dead_letters(NAME, 10).await.unwrap().pop() {
                    break letter;
                }
                tokio::task::yield_now().await;
            };
            assert!(bus.drop_dead_letter(NAME, again.id).await.unwrap());
            assert!(!bus.drop_dead_letter(NAME, again.id).await.unwrap());
            assert_eq!(bus.dead_letter_count(NAME).await.unwrap(), 0);
            done(&bus, NAME, GROUP).await;
        },
        |test| assert_eq!(complaints(test).len(), 2),
    );
}

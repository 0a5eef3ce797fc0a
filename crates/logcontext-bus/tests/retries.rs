//! Handlers that are tried again.
mod support;

use std::time::Duration;

use logcontext_bus::{Delivered, OnError, Retry};
use support::{Changed, changed, complaints, done, paused, paused_and, tell};
use tokio::time::Instant;

const NAME: &str = "presence.changed";
const GROUP: &str = "presence:sender";
const RETRY: Retry = Retry::times(3).backoff(Duration::from_secs(1), Duration::from_secs(3));

#[test]
fn a_handler_is_tried_again_after_pauses_that_grow_and_then_the_policy_decides() {
    paused_and(
        |world| async move {
            let bus = world.bus();
            let (tell, mut told) = tell();
            let handler = move |_: Changed, about: Delivered| {
                let _ = tell.send((about.attempt(), about.deliveries(), Instant::now()));
                async { Err::<(), _>("no") }
            };
            let listen = bus.listen::<(Changed, Delivered)>("sender", handler).retry(RETRY);
            listen.on_error(OnError::AcknowledgeAndLog).start().await.unwrap();
            let begun = Instant::now();
            bus.fire(&changed("alice", 1)).await.unwrap();
            let mut tries = Vec::new();
            for _ in 0..4 {
                let (attempt, deliveries, at) = told.recv().await.unwrap();
                tries.push((attempt, deliveries, at.duration_since(begun).as_millis() / 10));
            }
            assert_eq!(tries, [(1, 1, 0), (2, 1, 100), (3, 1, 300), (4, 1, 600)]);
            done(&bus, NAME, GROUP).await;
        },
        |test| {
            let complaints = complaints(test);
            assert_eq!(complaints.len(), 1, "{complaints:?}");
            assert_eq!(complaints[0].field("attempt"), Some("4"));
            let told = test.records().into_iter().filter(|record| record.message.contains("tried again"));
            assert_eq!(told.count(), 3, "retries are in the log, as information");
        },
    );
}

#[test]
fn one_that_succeeds_in_the_end_was_no_failure() {
    paused_and(
        |world| async move {
            let bus = world.bus();
            let handler = |_: Changed, about: Delivered| async move {
                if about.attempt() < 4 { Err("not yet") } else { Ok(()) }
            };
            let listener = bus.listen::<(Changed, Delivered)>("sender", handler).retry(RETRY);
            listener.on_error(OnError::StopListener).start().await.unwrap();
            bus.fire(&changed("alice", 1)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            done(&bus, NAME, GROUP).await;
        },
        |test| {
            assert!(complaints(test).is_empty());
            let totals = test.supervisor().totals();
            let handler =
                totals.iter().find(|row| row.label.as_deref() == Some("presence.changed-sender")).unwrap();
            assert_eq!(
                (handler.started, handler.failed, handler.ok),
                (4, 3, 1),
                "each try counts as what it was"
            );
        },
    );
}

#[test]
fn a_panic_is_tried_again_like_any_failure() {
    paused_and(
        |world| async move {
            let bus = world.bus();
            let handler = |_: Changed, about: Delivered| async move {
                assert!(about.attempt() > 2, "not yet");
            };
            bus.listen::<(Changed, Delivered)>("sender", handler).retry(RETRY).start().await.unwrap();
            bus.fire(&changed("alice", 1)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            done(&bus, NAME, GROUP).await;
            assert_eq!(bus.dead_letter_count(NAME).await.unwrap(), 0);
        },
        |test| {
            let panics: Vec<_> = complaints(test).into_iter().map(|record| record.message).collect();
            assert_eq!(panics, ["panicked: not yet"; 2]);
            assert_eq!(test.supervisor().panics(), 2);
        },
    );
}

#[test]
fn whoever_pauses_lets_others_run_if_more_are_held_than_run() {
    paused(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |event: Changed, about: Delivered| {
            let tell = tell.clone();
            async move {
                let _ = tell.send((event.n, about.attempt()));
                if event.n == 0 && about.attempt() == 1 { Err("no") } else { Ok(()) }
            }
        };
        let listen = bus.listen::<(Changed, Delivered)>("sender", handler).retry(RETRY);
        listen.slots(1).hold(2).start().await.unwrap();
        for n in 0..4 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        let mut got = Vec::new();
        for _ in 0..5 {
            got.push(told.recv().await.unwrap());
        }
        assert_eq!(got, [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2)]);
        done(&bus, NAME, GROUP).await;
    });
}

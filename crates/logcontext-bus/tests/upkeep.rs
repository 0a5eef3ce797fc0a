//! Streams that are looked after.
mod support;

use std::time::Duration;

use logcontext_bus::transport::Page;
use logcontext_bus::{BusConfig, Retention};
use support::{Changed, changed, complaints, paused, paused_and};
use tokio::time::sleep;
use tracing::Level;

const NAME: &str = "presence.changed";
const EVERY: Duration = Duration::from_secs(10);

fn keeping(history: usize, cap: usize) -> impl Fn(BusConfig) -> BusConfig {
    move |config| BusConfig { retention: Retention::default().history(history).cap(cap), ..config }
}

const ALL: Page = Page { before: None, limit: usize::MAX };

#[test]
fn what_all_groups_have_is_forgotten_but_for_some_to_be_looked_at() {
    paused_and(
        |world| async move {
            let bus = world.bus_with(keeping(5, 100));
            let listener = bus.listen("sender", |_: Changed| async {}).start().await.unwrap();
            for n in 0..50 {
                bus.fire(&changed("alice", n)).await.unwrap();
            }
            assert_eq!(bus.history(NAME, ALL).await.unwrap().len(), 50);
            sleep(EVERY * 2).await;
            assert_eq!(bus.history(NAME, ALL).await.unwrap().len(), 5);
            listener.stop();
            listener.stopped().await;
            // Nobody reads any more: nothing is forgotten that the group has not.
            for n in 0..50 {
                bus.fire(&changed("alice", n)).await.unwrap();
            }
            sleep(EVERY * 2).await;
            assert_eq!(bus.history(NAME, ALL).await.unwrap().len(), 50);
        },
        |test| assert!(complaints(test).is_empty(), "{:?}", complaints(test)),
    );
}

#[test]
fn before_anything_is_dropped_that_a_group_has_not_it_is_warned_of_once() {
    paused_and(
        |world| async move {
            let bus = world.bus_with(keeping(5, 100));
            let listener = bus.listen("sender", |_: Changed| async {}).start().await.unwrap();
            listener.stop();
            listener.stopped().await;
            for n in 0..79 {
                bus.fire(&changed("alice", n)).await.unwrap();
            }
            sleep(EVERY * 3).await;
            bus.fire(&changed("alice", 79)).await.unwrap();
            sleep(EVERY * 5).await;
            for n in 80..110 {
                bus.fire(&changed("alice", n)).await.unwrap();
            }
            sleep(EVERY * 5).await;
            assert_eq!(bus.history(NAME, ALL).await.unwrap().len(), 100);
            bus.forget_group(NAME, "presence:sender").await.unwrap();
            sleep(EVERY * 2).await;
            assert_eq!(bus.history(NAME, ALL).await.unwrap().len(), 5);
        },
        |test| {
            let all = complaints(test);
            assert_eq!(all.len(), 2, "{all:?}");
            assert_eq!(
                (all[0].level, all[0].field("kept"), all[0].field("cap")),
                (Level::WARN, Some("80"), Some("100"))
            );
            assert_eq!(all[0].field("behind"), Some("presence:sender"));
            assert_eq!((all[1].level, all[1].field("lost")), (Level::ERROR, Some("10")));
            assert_eq!(all[1].field("behind"), Some("presence:sender"));
            assert!(all.iter().all(|record| record.context.name().starts_with("trim_events-")));
        },
    );
}

#[test]
fn of_many_buses_one_looks_after_an_event_and_another_when_that_is_gone() {
    paused_and(
        |world| async move {
            let mut services: Vec<_> = (0..5).map(|_| world.service(keeping(5, 100))).collect();
            for n in 0..90 {
                services[n % 5].1.fire(&changed("alice", 0)).await.unwrap();
                // So that nobody has all of it.
                if n == 0 {
                    let listener =
                        services[0].1.listen("sender", |_: Changed| async {}).start().await.unwrap();
                    listener.stop();
                    listener.stopped().await;
                }
            }
            // Not at the moment of a round: whoever comes first when its holder has gone takes its turn.
            sleep(EVERY * 9 / 2).await;
            // One after the other goes; the others go on.
            while services.len() > 1 {
                let (supervisor, bus) = services.remove(0);
                drop(bus);
                supervisor.shutdown(Duration::from_secs(1)).await;
            }
            let bus = services.remove(0).1;
            bus.forget_group(NAME, "presence:sender").await.unwrap();
            sleep(EVERY * 5).await;
            assert_eq!(bus.history(NAME, ALL).await.unwrap().len(), 5);
        },
        |test| {
            let all = complaints(test);
            assert_eq!(all.len(), 1, "by the one whose turn it is: {all:?}");
            assert_eq!(all[0].level, Level::WARN);
        },
    );
}

#[test]
fn a_bus_that_is_gone_looks_after_nothing() {
    paused(|world| async move {
        let bus = world.bus();
        bus.fire(&changed("alice", 1)).await.unwrap();
        let names = |world: &support::World| {
            world.supervisor.running().into_iter().filter(|it| &*it.name == "trim_events").count()
        };
        assert_eq!(names(&world), 1);
        bus.fire(&changed("alice", 2)).await.unwrap();
        assert_eq!(names(&world), 1, "once per bus");
        drop(bus);
        support::settle().await;
        assert_eq!(names(&world), 0);
    });
}

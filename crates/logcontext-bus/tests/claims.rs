//! Consumers that die, and what becomes of what they had.
mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext::Supervisor;
use logcontext_bus::{Bus, BusConfig, Delivered};
use support::{Changed, World, changed, done, on_both, paused, tell};
use tokio::sync::mpsc::UnboundedSender;

const EVENTS: usize = 1_000;
const CONSUMERS: usize = 60;

/// What has become of one event: who has begun it, and whether somebody has come to its end.
#[derive(Clone, Default)]
struct Fate {
    begun_by: Vec<usize>,
    is_done: bool,
}

struct Consumer {
    supervisor: Supervisor,
    _bus: Bus,
}

/// A service with one listener. Every fifth handler, of all together, dies at some point with all of its process.
async fn consumer(
    number: usize,
    world: &World,
    fates: &Arc<Mutex<Vec<Fate>>>,
    begun: &Arc<AtomicUsize>,
    kill: &UnboundedSender<usize>,
) -> Consumer {
    let (supervisor, bus) = world.service(|config| config);
    let (fates, begun, kill) = (Arc::clone(fates), Arc::clone(begun), kill.clone());
    let handler = move |event: Changed| {
        let (fates, kill) = (Arc::clone(&fates), kill.clone());
        let (count, n) = (begun.fetch_add(1, Relaxed) + 1, event.n as usize);
        async move {
            fates.lock().unwrap()[n].begun_by.push(number);
            for _ in 0..fastrand::usize(..20) {
                tokio::task::yield_now().await;
            }
            // Those that come back die as well, but not for ever.
            if count % 5 == 0 && count <= EVENTS {
                let _ = kill.send(number);
                std::future::pending::<()>().await;
            }
            fates.lock().unwrap()[n].is_done = true;
        }
    };
    let listen = bus.listen::<Changed>("sender", handler).slots(4).max_deliveries(1_000);
    listen.start().await.unwrap();
    Consumer { supervisor, _bus: bus }
}

#[test]
fn all_is_handled_though_every_fifth_handler_dies_with_its_process() {
    on_both(|world| async move {
        let fates = Arc::new(Mutex::new(vec![Fate::default(); EVENTS]));
        let begun = Arc::default();
        let (kill, mut kills) = tell();
        let mut consumers = Vec::new();
        for number in 0..CONSUMERS {
            consumers.push(Some(consumer(number, &world, &fates, &begun, &kill).await));
        }
        let bus = world.bus();
        for n in 0..EVENTS as u64 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        let mut dead = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                Some(number) = kills.recv() => {
                    let Some(Consumer { supervisor, _bus }) = consumers[number].take() else { continue };
                    dead.insert(number);
                    drop(_bus);
                    supervisor.shutdown(Duration::ZERO).await;
                    let number = consumers.len();
                    consumers.push(Some(consumer(number, &world, &fates, &begun, &kill).await));
                }
                () = done(&bus, "presence.changed", "presence:sender") => break,
            }
        }
        let fates = std::mem::take(&mut *fates.lock().unwrap());
        assert!(fates.iter().all(|fate| fate.is_done), "all are handled");
        let duplicates = fates.iter().filter(|fate| fate.begun_by.len() > 1).count();
        assert!(duplicates > 0 && dead.len() > 20, "{duplicates} duplicates, {} dead", dead.len());
        for fate in &fates {
            let (_, before) = fate.begun_by.split_last().unwrap();
            assert!(before.iter().all(|number| dead.contains(number)), "begun again after {before:?}");
        }
        assert_eq!(bus.groups("presence.changed").await.unwrap(), ["presence:sender"]);
        assert_eq!(bus.dead_letter_count("presence.changed").await.unwrap(), 0);
        for consumer in consumers.into_iter().flatten() {
            assert!(consumer.supervisor.shutdown(Duration::from_secs(10)).await.aborted.is_empty());
        }
    });
}

#[test]
fn a_handler_that_takes_long_renews_its_claim_and_is_not_run_twice() {
    paused(|world| async move {
        let (tell, mut told) = tell();
        let mut services = Vec::new();
        for name in ["one", "two"] {
            let tell = tell.clone();
            let (supervisor, bus) =
                world.service(|config| BusConfig { claim_after: Duration::from_secs(2), ..config });
            let handler = move |_: Changed, about: Delivered| {
                let tell = tell.clone();
                async move {
                    let _ = tell.send((name, about.deliveries()));
                    tokio::time::sleep(Duration::from_secs(3_600)).await;
                }
            };
            bus.listen::<(Changed, Delivered)>("sender", handler).start().await.unwrap();
            services.push((supervisor, bus));
        }
        let bus = world.bus();
        bus.fire(&changed("alice", 1)).await.unwrap();
        let (_, deliveries) = told.recv().await.unwrap();
        assert_eq!(deliveries, 1);
        tokio::time::sleep(Duration::from_secs(3_500)).await;
        assert!(told.try_recv().is_err());
        tokio::time::sleep(Duration::from_secs(101)).await;
        done(&bus, "presence.changed", "presence:sender").await;
        assert!(told.try_recv().is_err(), "it was handled once");
        for (supervisor, _) in services {
            supervisor.shutdown(Duration::from_secs(1)).await;
        }
    });
}

#[test]
fn what_waits_for_its_turn_renews_its_claim_as_well() {
    paused(|world| async move {
        let (tell, mut told) = tell();
        let mut services = Vec::new();
        for name in ["one", "two"] {
            let tell = tell.clone();
            let (supervisor, bus) =
                world.service(|config| BusConfig { claim_after: Duration::from_secs(2), ..config });
            let handler = move |event: Changed| {
                let tell = tell.clone();
                async move {
                    tokio::time::sleep(Duration::from_secs(100)).await;
                    let _ = tell.send((event.n, name));
                }
            };
            bus.listen::<Changed>("sender", handler).in_order().start().await.unwrap();
            services.push((supervisor, bus));
            if name == "one" {
                for n in 0..5 {
                    services[0].1.fire(&changed("alice", n)).await.unwrap();
                }
                support::settle().await;
            }
        }
        let mut got = Vec::new();
        for _ in 0..5 {
            got.push(told.recv().await.unwrap());
        }
        assert_eq!(got, [0, 1, 2, 3, 4].map(|n| (n, "one")));
        done(&world.bus(), "presence.changed", "presence:sender").await;
        assert!(told.try_recv().is_err(), "each was handled once");
        for (supervisor, _) in services {
            supervisor.shutdown(Duration::from_secs(1)).await;
        }
    });
}

#[test]
fn an_event_that_its_process_dies_of_each_time_becomes_a_dead_letter() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let mut begun = 0;
        // Until it is nobody's turn any more.
        let letters = loop {
            let (supervisor, service) = world.service(|config| config);
            let tell = tell.clone();
            let handler = move |_: Changed| {
                let _ = tell.send(());
                std::future::pending::<()>()
            };
            service.listen::<Changed>("sender", handler).max_deliveries(3).start().await.unwrap();
            if begun == 0 {
                bus.fire(&changed("alice", 1)).await.unwrap();
            }
            let letters = async {
                while bus.dead_letter_count("presence.changed").await.unwrap() == 0 {
                    tokio::task::yield_now().await;
                }
                bus.dead_letters("presence.changed", 10).await.unwrap()
            };
            let letters = tokio::select! {
                biased;
                Some(()) = told.recv() => None,
                letters = letters => Some(letters),
            };
            drop(service);
            supervisor.shutdown(Duration::ZERO).await;
            match letters {
                Some(letters) => break letters,
                None => begun += 1,
            }
        };
        assert_eq!(begun, 3);
        assert_eq!(letters[0].deliveries, 4);
        assert_eq!(letters[0].reason, "was delivered 4 times and never done: expected at most 3");
        done(&bus, "presence.changed", "presence:sender").await;
    });
}

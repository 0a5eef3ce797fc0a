//! Partitions that are leased.
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext::Supervisor;
use logcontext_bus::transport::{DeliveryId, EventId, TransportError};
use logcontext_bus::{Bus, BusConfig, StopReason};
use support::figures::Figures;
use support::script::{Asked, Script};
use support::{Changed, Spread, World, changed, complaints, done, paused, paused_and, settle, spread, tell};
use tokio::time::Instant;

const NAME: &str = "presence.spread";
const GROUP: &str = "presence:sender";
const CLAIM: Duration = Duration::from_secs(3);

fn quick(config: BusConfig) -> BusConfig {
    BusConfig { claim_after: CLAIM, ..config }
}

fn partitions(supervisor: &Supervisor) -> u64 {
    Figures::of(supervisor).value("bus_partitions", &[]) as u64
}

async fn idle(world: &World) -> (Supervisor, Bus) {
    let (supervisor, bus) = world.service(quick);
    bus.listen("sender", |_: Spread| async {}).partitioned().start().await.unwrap();
    (supervisor, bus)
}

#[test]
fn partitions_are_shared_among_those_who_take_part() {
    paused(|world| async move {
        let mut services = Vec::new();
        for expected in [&[4][..], &[2, 2], &[0, 2, 2], &[1, 1, 1, 1], &[0, 1, 1, 1, 1]] {
            services.push(idle(&world).await);
            tokio::time::sleep(CLAIM * 4).await;
            let mut shares: Vec<_> = services.iter().map(|(supervisor, _)| partitions(supervisor)).collect();
            shares.sort_unstable();
            assert_eq!(shares, expected);
        }
        // Those that have some leave, one after the other.
        while services.len() > 1 {
            let has_some = services.iter().position(|(supervisor, _)| partitions(supervisor) > 0).unwrap();
            let (supervisor, bus) = services.swap_remove(has_some);
            assert!(supervisor.shutdown(Duration::from_secs(1)).await.aborted.is_empty());
            drop(bus);
            tokio::time::sleep(CLAIM * 4).await;
            let held: u64 = services.iter().map(|(supervisor, _)| partitions(supervisor)).sum();
            assert_eq!(held, 4, "all are somebody's");
        }
        services[0].0.shutdown(Duration::from_secs(1)).await;
    });
}

#[test]
fn what_is_fired_before_anybody_has_a_lease_comes() {
    paused(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |event: Spread| {
            let _ = tell.send(event.n);
            async {}
        };
        bus.listen::<Spread>("sender", handler).partitioned().start().await.unwrap();
        for n in 0..20 {
            bus.fire(&spread(&format!("user-{n}"), n)).await.unwrap();
        }
        let mut got = Vec::new();
        for _ in 0..20 {
            got.push(told.recv().await.unwrap());
        }
        got.sort_unstable();
        assert!(got.into_iter().eq(0..20));
        done(&bus, NAME, GROUP).await;
    });
}

/// What is known of a key: what was done, and whether somebody is at it.
#[derive(Default)]
struct Key {
    done: u64,
    at: Option<u64>,
}

#[derive(Default)]
struct Seen {
    keys: BTreeMap<String, Key>,
    begun: u64,
}

/// Whoever begins an event says so, and leaves when it ends or is aborted.
struct At(Arc<Mutex<Seen>>, String);

impl Drop for At {
    fn drop(&mut self) {
        self.0.lock().unwrap().keys.get_mut(&self.1).unwrap().at = None;
    }
}

#[test]
fn the_order_of_keys_is_kept_while_processes_come_die_and_leave() {
    const EVENTS: u64 = 2_000;
    const KEYS: u64 = 20;
    paused(|world| async move {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let start = async || {
            let (supervisor, bus) = world.service(quick);
            let seen = Arc::clone(&seen);
            let handler = move |event: Spread| {
                let at = {
                    let mut all = seen.lock().unwrap();
                    all.begun += 1;
                    let key = all.keys.entry(event.user.clone()).or_default();
                    assert_eq!(key.at.replace(event.n), None, "one at a time");
                    assert!(event.n <= key.done, "{} before {}", event.n, key.done);
                    At(Arc::clone(&seen), event.user)
                };
                async move {
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..200))).await;
                    let mut all = at.0.lock().unwrap();
                    let key = all.keys.get_mut(&at.1).unwrap();
                    key.done = key.done.max(event.n + 1);
                }
            };
            let listen = bus.listen::<Spread>("sender", handler).max_deliveries(1_000);
            listen.partitioned().start().await.unwrap();
            (supervisor, bus)
        };
        let mut services = Vec::new();
        for _ in 0..3 {
            services.push(start().await);
        }
        let bus = world.bus();
        for n in 0..EVENTS {
            bus.fire(&spread(&format!("user-{}", n % KEYS), n / KEYS)).await.unwrap();
        }
        for round in 0..12 {
            tokio::time::sleep(Duration::from_secs(fastrand::u64(1..6))).await;
            let (supervisor, bus) = services.remove(0);
            drop(bus);
            let deadline = if round % 2 == 0 { Duration::ZERO } else { Duration::from_secs(10) };
            supervisor.shutdown(deadline).await;
            services.push(start().await);
        }
        loop {
            let lag = bus.lag(NAME, GROUP).await.unwrap();
            if (lag.unread, lag.pending) == (0, 0) {
                break;
            }
            tokio::time::sleep(CLAIM).await;
        }
        {
            let seen = seen.lock().unwrap();
            assert_eq!(seen.keys.len() as u64, KEYS);
            assert!(seen.keys.values().all(|key| key.done == EVENTS / KEYS && key.at.is_none()));
            assert!(seen.begun > EVENTS, "some died with their process");
        }
        for (supervisor, _) in services {
            assert!(supervisor.shutdown(Duration::from_secs(10)).await.aborted.is_empty());
        }
    });
}

#[test]
fn a_partition_that_is_given_back_is_drained_first() {
    paused(|world| async move {
        let (tell, mut told) = tell();
        let mut services = Vec::new();
        for name in ["one", "two"] {
            let (supervisor, bus) = world.service(quick);
            let tell = tell.clone();
            let handler = move |event: Spread| {
                let tell = tell.clone();
                async move {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    let _ = tell.send((event.user, event.n, name));
                }
            };
            bus.listen::<Spread>("sender", handler).partitioned().start().await.unwrap();
            if name == "one" {
                for n in 0..40 {
                    bus.fire(&spread(&format!("user-{}", n % 20), n / 20)).await.unwrap();
                }
                tokio::time::sleep(CLAIM).await;
            }
            services.push((supervisor, bus));
        }
        let mut got = BTreeMap::<_, Vec<_>>::new();
        let mut by = BTreeSet::new();
        for _ in 0..40 {
            let (user, n, name) = told.recv().await.unwrap();
            got.entry(user).or_default().push(n);
            by.insert(name);
        }
        assert!(got.values().all(|seen| *seen == [0, 1]), "each once, in order: {got:?}");
        assert_eq!(by.len(), 2, "both have worked");
        done(&services[0].1, NAME, GROUP).await;
        assert!(told.try_recv().is_err());
        for (supervisor, _) in services {
            supervisor.shutdown(Duration::from_secs(100)).await;
        }
    });
}

/// A listener of one partition, whose handlers never end, that has one running and one waiting.
async fn holding(script: &Script, bus: &Bus) -> tokio::sync::mpsc::UnboundedReceiver<Option<u64>> {
    let (tell, mut told) = tell();
    struct Dropped(tokio::sync::mpsc::UnboundedSender<Option<u64>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(None);
        }
    }
    let handler = move |event: Changed| {
        let _ = tell.send(Some(event.n));
        let dropped = Dropped(tell.clone());
        async move {
            std::future::pending::<()>().await;
            drop(dropped);
        }
    };
    bus.listen::<Changed>("sender", handler).partitioned().start().await.unwrap();
    settle().await;
    let at = |n| DeliveryId { partition: 0, id: EventId(n, 0) };
    for n in 1..=2 {
        let message = script.message(bus, &changed("alice", n)).await;
        assert!(script.deliver(at(n), 1, &message));
    }
    assert_eq!(told.recv().await, Some(Some(1)));
    told
}

fn commands(script: &Script) -> Vec<Asked> {
    script.asked().into_iter().filter(|asked| !matches!(asked, Asked::Renew(_))).collect()
}

#[test]
fn a_lease_that_is_lost_aborts_its_handlers_and_leaves_everything_to_whoever_has_it() {
    paused_and(
        |world| async move {
            let script = Script::new();
            let bus = script.bus();
            let mut told = holding(&script, &bus).await;
            assert_eq!(commands(&script), [Asked::Stop], "that of the start, which has made the group");
            script.state.lock().unwrap().lease = Some(Ok(false));
            assert_eq!(told.recv().await, Some(None), "aborted");
            settle().await;
            script.state.lock().unwrap().lease = Some(Ok(true));
            assert_eq!(commands(&script), [Asked::Stop], "neither acknowledged nor released, nor let go");
            assert_eq!(Figures::of(&world.supervisor).value("bus_partition_leases_lost", &[]), 1.0);
            // It is had again, and goes on.
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(Figures::of(&world.supervisor).value("bus_partitions", &[]), 1.0);
            let message = script.message(&bus, &changed("alice", 1)).await;
            assert!(script.deliver(DeliveryId { partition: 0, id: EventId(1, 0) }, 2, &message));
            assert_eq!(told.recv().await, Some(Some(1)));
            world.supervisor.shutdown(Duration::ZERO).await;
        },
        |test| {
            assert_eq!(
                complaints(test)[0].message,
                "the lease of a partition was lost: its handlers are aborted"
            );
        },
    );
}

#[test]
fn a_lease_that_cannot_be_renewed_is_given_up_before_it_is_anothers() {
    for answer in [None, Some(Err(TransportError::Lost("reset".into())))] {
        paused(|world| async move {
            let script = Script::new();
            let bus = script.bus();
            let mut told = holding(&script, &bus).await;
            // The last renewal was answered just now.
            tokio::time::sleep(Duration::from_secs(5)).await;
            settle().await;
            let begun = Instant::now();
            script.state.lock().unwrap().lease = answer;
            assert_eq!(told.recv().await, Some(None), "aborted");
            let after = begun.elapsed();
            // Of the 15 seconds that a lease is given for.
            assert!(
                (Duration::from_millis(12_300)..Duration::from_millis(12_600)).contains(&after),
                "{after:?}"
            );
            world.supervisor.shutdown(Duration::ZERO).await;
        });
    }
}

#[test]
fn a_listener_that_stops_lets_its_partitions_go() {
    paused(|world| async move {
        let script = Script::new();
        let bus = script.bus();
        let listen = bus.listen("sender", |_: Changed| async {}).partitioned();
        let listener = listen.start().await.unwrap();
        settle().await;
        assert_eq!(Figures::of(&world.supervisor).value("bus_partitions", &[]), 1.0);
        commands(&script);
        listener.stop();
        assert_eq!(listener.stopped().await, StopReason::Asked);
        assert_eq!(commands(&script), [Asked::Stop, Asked::LetGo]);
    });
}

#[test]
fn what_comes_before_the_word_that_a_partition_is_subscribed_to_is_handled_as_well() {
    paused(|_| async move {
        let script = Script::new();
        let bus = script.bus();
        let id = DeliveryId { partition: 0, id: EventId(1, 0) };
        let message = script.message(&bus, &changed("alice", 1)).await;
        script.state.lock().unwrap().early = Some((id, message));
        let (tell, mut told) = tell();
        let handler = move |event: Changed| {
            let _ = tell.send(event.n);
            async {}
        };
        let listener = bus.listen::<Changed>("sender", handler).partitioned().start().await.unwrap();
        assert_eq!(told.recv().await, Some(1));
        settle().await;
        assert!(commands(&script).contains(&Asked::Acknowledge(vec![id])));
        listener.stop();
        assert_eq!(listener.stopped().await, StopReason::Asked);
    });
}

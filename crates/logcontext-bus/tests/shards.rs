//! Work that is split into shards, each held by one process at a time.
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext::{Supervisor, current_context};
use logcontext_bus::transport::TransportError;
use logcontext_bus::{Bus, BusConfig, Shard, ShardError, Sharding};
use support::figures::Figures;
use support::script::{Asked, Script};
use support::{complaints, paused, paused_and, settle, tell};
use tokio::time::Instant;

const CLAIM: Duration = Duration::from_secs(3);

fn quick(config: BusConfig) -> BusConfig {
    BusConfig { claim_after: CLAIM, ..config }
}

/// Holds its shards until they are lost.
fn idle(bus: &Bus, count: u16) -> Sharding {
    bus.shard("sender", count, |shard: Shard| async move { shard.lost().await }).unwrap()
}

#[test]
fn shards_are_shared_among_those_who_take_part() {
    paused(|world| async move {
        let mut services: Vec<(Supervisor, Bus, Sharding)> = Vec::new();
        for expected in [&[4][..], &[2, 2], &[0, 2, 2], &[1, 1, 1, 1], &[0, 1, 1, 1, 1]] {
            let (supervisor, bus) = world.service(quick);
            let sharding = idle(&bus, 4);
            services.push((supervisor, bus, sharding));
            tokio::time::sleep(CLAIM * 4).await;
            let mut shares: Vec<_> = services.iter().map(|(.., sharding)| sharding.held()).collect();
            shares.sort_unstable();
            assert_eq!(shares, expected);
        }
        while services.len() > 1 {
            let has_some = services.iter().position(|(.., sharding)| sharding.held() > 0).unwrap();
            let (supervisor, bus, sharding) = services.swap_remove(has_some);
            assert!(supervisor.shutdown(Duration::from_secs(1)).await.aborted.is_empty());
            assert_eq!(sharding.held(), 0);
            drop(bus);
            tokio::time::sleep(CLAIM * 4).await;
            let held: usize = services.iter().map(|(.., sharding)| sharding.held()).sum();
            assert_eq!(held, 4, "all are somebody's");
        }
        services[0].0.shutdown(Duration::from_secs(1)).await;
    });
}

/// Who holds a shard, for as long as that runs.
struct At(Arc<Mutex<BTreeMap<u16, usize>>>, u16);

impl At {
    fn new(all: &Arc<Mutex<BTreeMap<u16, usize>>>, number: u16, who: usize) -> Self {
        let before = all.lock().unwrap().insert(number, who);
        assert_eq!(before, None, "shard {number} is held twice");
        Self(Arc::clone(all), number)
    }
}

impl Drop for At {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

#[test]
fn nobody_holds_what_another_does_while_processes_come_die_and_leave() {
    paused(|world| async move {
        let all = Arc::new(Mutex::new(BTreeMap::new()));
        let start = |who: usize| {
            let (supervisor, bus) = world.service(quick);
            let all = Arc::clone(&all);
            let run = move |shard: Shard| {
                let all = Arc::clone(&all);
                async move {
                    let _at = At::new(&all, shard.number(), who);
                    shard.lost().await;
                    // What it is at comes to its end.
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..5_000))).await;
                }
            };
            bus.shard("sender", 16, run).unwrap();
            (supervisor, bus)
        };
        let mut services: Vec<_> = (0..3).map(start).collect();
        for round in 0..20 {
            tokio::time::sleep(Duration::from_secs(fastrand::u64(1..8))).await;
            let (supervisor, bus) = services.remove(0);
            drop(bus);
            let deadline = if round % 2 == 0 { Duration::ZERO } else { Duration::from_secs(10) };
            supervisor.shutdown(deadline).await;
            services.push(start(round + 3));
        }
        tokio::time::sleep(CLAIM * 6).await;
        assert_eq!(all.lock().unwrap().len(), 16, "all are somebody's");
        for (supervisor, _) in services {
            assert!(supervisor.shutdown(Duration::from_secs(10)).await.aborted.is_empty());
        }
        assert!(all.lock().unwrap().is_empty());
    });
}

#[test]
fn each_runs_as_a_background_process_of_its_own() {
    paused(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let run = move |shard: Shard| {
            let _ = tell.send((shard.number(), shard.count(), current_context().name().to_owned()));
            let tell = tell.clone();
            async move {
                let context = current_context();
                let _ = tell.send((shard.number(), shard.count(), context.name().to_owned()));
                shard.lost().await;
            }
        };
        let sharding = bus.shard("sender", 1, run).unwrap();
        let made = told.recv().await.unwrap();
        assert!(made.2.starts_with("sender-shards-"), "{made:?}");
        let run = told.recv().await.unwrap();
        assert_eq!((run.0, run.1), (0, 1));
        assert!(run.2.starts_with("sender-0-"), "{run:?}");
        sharding.stop();
        sharding.stopped().await;
    });
}

#[test]
fn a_lease_that_cannot_be_renewed_is_lost_before_it_is_anothers() {
    let lost = || Some(Err(TransportError::Lost("reset".into())));
    for answer in [|| None, lost] {
        paused(move |world| async move {
            let script = Script::new();
            let bus = script.bus();
            let (tell, mut told) = tell();
            let run = move |shard: Shard| {
                let tell = tell.clone();
                async move {
                    let _ = tell.send("begun");
                    shard.lost().await;
                    let _ = tell.send("lost");
                    let _dropped = Tell(tell, "dropped");
                    std::future::pending::<()>().await;
                }
            };
            bus.shard("sender", 1, run).unwrap();
            assert_eq!(told.recv().await, Some("begun"));
            // The last renewal was answered just now.
            tokio::time::sleep(Duration::from_millis(5_001)).await;
            settle().await;
            script.state.lock().unwrap().lease = answer();
            let begun = Instant::now();
            assert_eq!(told.recv().await, Some("lost"));
            let after = begun.elapsed();
            // Of the 15 seconds that a lease is given for.
            let expected = Duration::from_millis(12_300)..Duration::from_millis(12_600);
            assert!(expected.contains(&after), "{after:?}");
            assert_eq!(told.recv().await, Some("dropped"));
            let after = begun.elapsed();
            let expected = Duration::from_millis(14_800)..Duration::from_millis(15_100);
            assert!(expected.contains(&after), "{after:?}");
            assert_eq!(Figures::of(&world.supervisor).value("bus_shard_leases_lost", &[]), 1.0);
            world.supervisor.shutdown(Duration::ZERO).await;
        });
    }
}

struct Tell(tokio::sync::mpsc::UnboundedSender<&'static str>, &'static str);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

#[test]
fn a_lease_that_is_anothers_ends_its_work_at_once() {
    paused_and(
        |world| async move {
            let script = Script::new();
            let bus = script.bus();
            let (tell, mut told) = tell();
            let run = move |shard: Shard| {
                let dropped = Tell(tell.clone(), "dropped");
                async move {
                    shard.lost().await;
                    std::future::pending::<()>().await;
                    drop(dropped);
                }
            };
            bus.shard("sender", 1, run).unwrap();
            settle().await;
            script.state.lock().unwrap().lease = Some(Ok(false));
            let begun = Instant::now();
            assert_eq!(told.recv().await, Some("dropped"));
            assert_eq!(begun.elapsed().as_secs(), 5, "with the first renewal");
            world.supervisor.shutdown(Duration::ZERO).await;
        },
        |test| assert_eq!(complaints(test)[0].message, "the lease of a shard was lost: its work is ended"),
    );
}

#[test]
fn work_that_ends_or_fails_or_panics_lets_go_and_is_run_again() {
    paused_and(
        |world| async move {
            let bus = world.bus_with(quick);
            let (tell, mut told) = tell();
            let run = move |_: Shard| {
                let tell = tell.clone();
                async move {
                    let _ = tell.send(Instant::now());
                    match fastrand::u8(..3) {
                        0 => Ok(()),
                        1 => Err("it fails"),
                        _ => panic!("it panics"),
                    }
                }
            };
            let sharding = bus.shard("sender", 1, run).unwrap();
            let mut last = told.recv().await.unwrap();
            for _ in 0..20 {
                let next = told.recv().await.unwrap();
                assert_eq!((next - last).as_secs(), 1, "not before the next round");
                last = next;
            }
            sharding.stop();
            sharding.stopped().await;
        },
        |test| {
            let all = complaints(test);
            assert!(all.len() > 3, "{all:?}");
            assert!(all.iter().all(|record| record.context.name().starts_with("sender-0-")), "{all:?}");
        },
    );
}

#[test]
fn who_stops_lets_go_when_its_work_has_ended() {
    paused(|world| async move {
        let script = Script::new();
        let bus = script.bus();
        let (tell, mut told) = tell();
        let run = move |shard: Shard| {
            let tell = tell.clone();
            async move {
                shard.lost().await;
                // Longer than the lease: it is renewed meanwhile.
                tokio::time::sleep(Duration::from_secs(60)).await;
                let _ = tell.send(());
            }
        };
        let sharding = bus.shard("sender", 1, run).unwrap();
        settle().await;
        assert_eq!(sharding.held(), 1);
        sharding.stop();
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert!(script.asked().is_empty(), "it is kept until then");
        told.recv().await.unwrap();
        sharding.stopped().await;
        assert_eq!(script.asked(), [Asked::LetGo]);
        assert_eq!(Figures::of(&world.supervisor).value("bus_shard_leases_lost", &[]), 0.0);
        // The name is free again.
        idle(&bus, 1).stop();
    });
}

#[test]
fn what_cannot_be_is_refused() {
    paused(|world| async move {
        let bus = world.bus();
        let refused = |name: &str, count| bus.shard(name, count, |_| async {}).map(drop).unwrap_err();
        assert!(matches!(refused("no name!", 1), ShardError::Name(_)));
        assert_eq!(refused("sender", 0).to_string(), "0 shards: expected 1 to 1024");
        assert_eq!(refused("sender", 1025), ShardError::Count(1025));
        let sharding = idle(&bus, 1);
        assert_eq!(refused("sender", 1), ShardError::Taken("sender".to_owned()));
        sharding.stop();
        sharding.stopped().await;
        world.supervisor.shutdown(Duration::from_secs(1)).await;
        assert_eq!(refused("sender", 1), ShardError::ShuttingDown);
        bus.close(Duration::from_secs(1)).await;
        assert_eq!(refused("sender", 1), ShardError::Closed);
    });
}

#[test]
fn a_bus_that_is_closed_lets_go() {
    paused(|world| async move {
        let (_, one) = world.service(quick);
        let sharding = idle(&one, 4);
        tokio::time::sleep(CLAIM).await;
        assert_eq!(sharding.held(), 4);
        one.close(Duration::from_secs(10)).await;
        sharding.stopped().await;
        let (supervisor, two) = world.service(quick);
        let sharding = idle(&two, 4);
        settle().await;
        assert_eq!(sharding.held(), 4, "at once");
        supervisor.shutdown(Duration::from_secs(1)).await;
    });
}

//! The order of keys.
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext_bus::{Delivered, OnError, Retry};
use support::{Changed, changed, done, on_both, paused, tell};
use tokio::sync::Semaphore;

#[test]
fn a_hundred_thousand_events_each_once_to_each_group_and_in_order_of_their_key() {
    const EVENTS: u64 = 100_000;
    const KEYS: u64 = 500;
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let seen: Arc<Mutex<[BTreeMap<String, u64>; 2]>> = Arc::default();
        for group in 0..2 {
            let (tell, seen) = (tell.clone(), Arc::clone(&seen));
            let mut count = 0;
            let last = Arc::new(Mutex::new(move || {
                count += 1;
                count == EVENTS
            }));
            let handler = move |event: Changed| {
                let (tell, seen, last) = (tell.clone(), Arc::clone(&seen), Arc::clone(&last));
                async move {
                    // Others run in between, in whatever order they can.
                    if event.n.is_multiple_of(7) {
                        tokio::task::yield_now().await;
                    }
                    let next = {
                        let mut seen = seen.lock().unwrap();
                        let next = seen[group].entry(event.user).or_default();
                        std::mem::replace(next, event.n + 1)
                    };
                    assert_eq!(next, event.n, "the next one of its key");
                    if last.lock().unwrap()() {
                        let _ = tell.send(group);
                    }
                }
            };
            let name = format!("group-{group}");
            bus.listen::<Changed>(&name, handler).in_order().slots(50).start().await.unwrap();
        }
        for n in 0..EVENTS {
            bus.fire(&changed(&format!("user-{}", n % KEYS), n / KEYS)).await.unwrap();
        }
        let mut ended = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        ended.sort_unstable();
        assert_eq!(ended, [0, 1]);
        for group in ["presence:group-0", "presence:group-1"] {
            done(&bus, "presence.changed", group).await;
        }
        for seen in &*seen.lock().unwrap() {
            assert_eq!(seen.len() as u64, KEYS);
            assert!(seen.values().all(|next| *next == EVENTS / KEYS));
        }
        assert_eq!(bus.dead_letter_count("presence.changed").await.unwrap(), 0);
    });
}

#[test]
fn the_next_of_a_key_begins_when_the_one_before_is_done_and_other_keys_do_not_wait() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let gate = Arc::new(Semaphore::new(0));
        let gates = Arc::clone(&gate);
        let handler = move |event: Changed| {
            let (tell, gate) = (tell.clone(), Arc::clone(&gates));
            async move {
                let _ = tell.send((event.user.clone(), event.n));
                if event.user == "alice" {
                    gate.acquire().await.unwrap().forget();
                }
            }
        };
        bus.listen::<Changed>("sender", handler).in_order().slots(2).start().await.unwrap();
        for (user, n) in [("alice", 1), ("alice", 2), ("alice", 3), ("bob", 4), ("bob", 5)] {
            bus.fire(&changed(user, n)).await.unwrap();
        }
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(told.recv().await.unwrap().1);
        }
        got.sort_unstable();
        assert_eq!(got, [1, 4, 5]);
        support::settle().await;
        assert!(told.try_recv().is_err(), "alice's second one waits for her first");
        gate.add_permits(1);
        assert_eq!(told.recv().await.unwrap().1, 2);
        gate.add_permits(2);
        assert_eq!(told.recv().await.unwrap().1, 3);
        done(&bus, "presence.changed", "presence:sender").await;
    });
}

#[test]
fn events_without_the_wish_for_order_do_not_wait_for_each_other() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let gate = Arc::new(Semaphore::new(0));
        let gates = Arc::clone(&gate);
        let handler = move |event: Changed| {
            let (tell, gate) = (tell.clone(), Arc::clone(&gates));
            async move {
                let _ = tell.send(event.n);
                gate.acquire().await.unwrap().forget();
            }
        };
        bus.listen::<Changed>("sender", handler).slots(2).start().await.unwrap();
        for n in 0..2 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        let mut got = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
        gate.add_permits(2);
        done(&bus, "presence.changed", "presence:sender").await;
    });
}

#[test]
fn a_key_waits_through_retries_and_until_the_dead_letter_is_buried() {
    paused(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |event: Changed, about: Delivered| {
            let tell = tell.clone();
            async move {
                let _ = tell.send((event.user.clone(), event.n, about.attempt()));
                if event.n == 1 { Err("no") } else { Ok(()) }
            }
        };
        let retry = Retry::times(2).backoff(Duration::from_secs(1), Duration::from_secs(10));
        bus.listen::<(Changed, Delivered)>("sender", handler).in_order().retry(retry).start().await.unwrap();
        for (user, n) in [("alice", 1), ("alice", 2), ("bob", 3)] {
            bus.fire(&changed(user, n)).await.unwrap();
        }
        let mut got = Vec::new();
        for _ in 0..5 {
            let (_, n, attempt) = told.recv().await.unwrap();
            got.push((n, attempt));
        }
        assert_eq!(got, [(1, 1), (3, 1), (1, 2), (1, 3), (2, 1)]);
        done(&bus, "presence.changed", "presence:sender").await;
        let letters = bus.dead_letters("presence.changed", 10).await.unwrap();
        assert_eq!(letters.len(), 1);
    });
}

#[test]
fn a_slow_key_does_not_keep_others_away_as_long_as_there_is_room() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let gate = Arc::new(Semaphore::new(0));
        let gates = Arc::clone(&gate);
        let handler = move |event: Changed| {
            let (tell, gate) = (tell.clone(), Arc::clone(&gates));
            async move {
                if event.user == "alice" {
                    gate.acquire().await.unwrap().forget();
                }
                let _ = tell.send(event.n);
            }
        };
        let listen = bus.listen::<Changed>("sender", handler).in_order().slots(2).hold(10);
        listen.on_error(OnError::Ignore).start().await.unwrap();
        // Alice's nine leave one place.
        for n in 0..9 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        for n in 100..120 {
            bus.fire(&changed("bob", n)).await.unwrap();
        }
        for n in 100..120 {
            assert_eq!(told.recv().await, Some(n));
        }
        gate.add_permits(9);
        for n in 0..9 {
            assert_eq!(told.recv().await, Some(n));
        }
        done(&bus, "presence.changed", "presence:sender").await;
    });
}

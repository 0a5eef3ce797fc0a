//! What a listener asks of its transport, and what it makes of the answers.
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext_bus::transport::{DeliveryId, EventId, Message, Status, TransportError};
use logcontext_bus::{Bus, FireError, Listen, ListenError, Listener, StopReason, Waiting};
use rustc_hash::FxHashMap;
use support::figures::Figures;
use support::script::{Asked, Script, at};
use support::{Changed, changed, complaints, paused, paused_and, settle};
use tokio::sync::oneshot;

type Ends = Arc<Mutex<FxHashMap<u64, Vec<oneshot::Sender<Result<(), &'static str>>>>>>;

/// A listener whose handlers end as the test says.
struct Desk {
    script: Script,
    bus: Bus,
    listener: Listener,
    ends: Ends,
    begun: Arc<Mutex<Vec<u64>>>,
}

impl Desk {
    async fn new(with: impl FnOnce(Listen) -> Listen) -> Self {
        let script = Script::new();
        let bus = script.bus();
        let (ends, begun) = (Ends::default(), Arc::<Mutex<Vec<u64>>>::default());
        let (all, seen) = (Arc::clone(&ends), Arc::clone(&begun));
        let handler = move |event: Changed| {
            let (end, ended) = oneshot::channel();
            all.lock().unwrap().entry(event.n).or_default().push(end);
            seen.lock().unwrap().push(event.n);
            async move { ended.await.unwrap_or(Ok(())) }
        };
        let listener = with(bus.listen::<Changed>("sender", handler)).start().await.unwrap();
        Self { script, bus, listener, ends, begun }
    }

    async fn message(&self, user: &str, n: u64) -> Message {
        self.script.message(&self.bus, &changed(user, n)).await
    }

    /// Delivers an event that has its number as its id.
    async fn deliver(&self, user: &str, n: u64) {
        let message = self.message(user, n).await;
        assert!(self.script.deliver(at(n), 1, &message));
        settle().await;
    }

    async fn end(&self, n: u64, how: Result<(), &'static str>) {
        let end = self.ends.lock().unwrap().get_mut(&n).unwrap().pop().unwrap();
        end.send(how).unwrap();
        settle().await;
    }

    fn begun(&self) -> Vec<u64> {
        self.begun.lock().unwrap().clone()
    }

    /// The broker says of these that they are others', when it is asked next.
    async fn lose(&self, ids: &[u64]) {
        self.script.state.lock().unwrap().lost = ids.iter().map(|n| at(*n)).collect();
        tokio::time::sleep(Duration::from_secs(5)).await;
        settle().await;
        assert!(self.script.state.lock().unwrap().lost.is_empty());
    }

    async fn stop(self) -> Vec<Asked> {
        self.ends.lock().unwrap().clear();
        self.listener.stop();
        assert_eq!(self.listener.stopped().await, StopReason::Asked);
        self.script.asked()
    }
}

fn ids(ids: &[u64]) -> Vec<DeliveryId> {
    ids.iter().map(|n| at(*n)).collect()
}

#[test]
fn claims_are_renewed_three_times_before_they_are_over_and_not_while_nothing_is_held() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(desk.script.asked(), []);
        desk.deliver("alice", 1).await;
        tokio::time::sleep(Duration::from_millis(14_900)).await;
        assert_eq!(desk.script.asked(), [Asked::Renew(ids(&[1])), Asked::Renew(ids(&[1]))]);
        desk.end(1, Ok(())).await;
        assert_eq!(desk.script.asked(), [Asked::Acknowledge(ids(&[1]))]);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(desk.script.asked(), []);
        desk.stop().await;
    });
}

#[test]
fn what_is_done_while_an_acknowledgement_is_on_its_way_goes_with_the_next_one() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen).await;
        desk.script.answers.send_replace(false);
        for n in 1..=4 {
            desk.deliver("alice", n).await;
        }
        for n in [2, 1, 4, 3] {
            desk.end(n, Ok(())).await;
        }
        assert_eq!(desk.script.peek(), [Asked::Acknowledge(ids(&[2]))]);
        assert_eq!(desk.script.free(), 16, "slots do not wait for the broker");
        desk.script.answers.send_replace(true);
        settle().await;
        assert_eq!(desk.script.asked(), [Asked::Acknowledge(ids(&[2])), Asked::Acknowledge(ids(&[1, 4, 3]))]);
        desk.stop().await;
    });
}

#[test]
fn slots_wait_for_the_broker_once_much_is_not_acknowledged() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen).await;
        desk.script.answers.send_replace(false);
        let message = desk.message("alice", 1).await;
        let mut delivered = 0;
        while desk.script.deliver(at(delivered + 1), 1, &message) {
            delivered += 1;
            settle().await;
            desk.end(1, Ok(())).await;
        }
        assert_eq!(delivered, 1_016);
        desk.script.answers.send_replace(true);
        settle().await;
        assert_eq!(desk.script.free(), 16);
        desk.stop().await;
    });
}

#[test]
fn a_claim_that_was_lost_is_counted_and_the_handler_goes_on() {
    paused_and(
        |world| async move {
            let desk = Desk::new(|listen| listen.slots(1).hold(3)).await;
            for n in 1..=3 {
                desk.deliver("alice", n).await;
            }
            assert_eq!(desk.begun(), [1]);
            desk.lose(&[1, 2]).await;
            assert_eq!(Figures::of(&world.supervisor).value("bus_event_claims_lost", &[]), 2.0);
            assert_eq!(desk.script.free(), 1, "what has not begun is another's");
            desk.script.asked();
            desk.end(1, Ok(())).await;
            assert_eq!(desk.script.asked(), [Asked::Acknowledge(ids(&[1]))], "handled is handled");
            assert_eq!(desk.begun(), [1, 3]);
            desk.end(3, Ok(())).await;
            desk.stop().await;
        },
        |test| assert_eq!(complaints(test).len(), 2),
    );
}

#[test]
fn a_failure_after_the_claim_was_lost_is_left_to_whoever_has_it() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen).await;
        desk.deliver("alice", 1).await;
        desk.lose(&[1]).await;
        desk.script.asked();
        desk.end(1, Err("no")).await;
        assert_eq!(desk.script.asked(), [], "neither buried nor released");
        assert_eq!(desk.script.free(), 16);
        desk.stop().await;
    });
}

#[test]
fn an_event_that_comes_back_while_it_is_here_is_not_run_twice() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen.in_order()).await;
        let message = desk.message("alice", 1).await;
        for n in 1..=2 {
            desk.deliver("alice", n).await;
        }
        desk.lose(&[1]).await;
        let free = desk.script.free();
        assert!(desk.script.deliver(at(1), 2, &message));
        assert!(desk.script.deliver(at(2), 2, &message));
        settle().await;
        assert_eq!((desk.begun(), desk.script.free()), (vec![1], free));
        desk.script.asked();
        // It is its own again: its failure is its own as well.
        desk.end(1, Err("no")).await;
        assert_eq!(desk.script.asked(), [Asked::Bury(at(1), "no".to_owned())]);
        assert_eq!(desk.begun(), [1, 2]);
        desk.end(2, Ok(())).await;
        assert_eq!(desk.script.asked(), [Asked::Acknowledge(ids(&[2]))]);
        desk.stop().await;
    });
}

#[test]
fn an_event_that_comes_back_while_it_is_acknowledged_is_not_run_again() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen).await;
        let message = desk.message("alice", 1).await;
        desk.deliver("alice", 1).await;
        desk.script.answers.send_replace(false);
        desk.end(1, Ok(())).await;
        assert!(desk.script.deliver(at(1), 2, &message));
        settle().await;
        assert_eq!((desk.begun(), desk.script.free()), (vec![1], 16));
        desk.script.answers.send_replace(true);
        desk.stop().await;
    });
}

#[test]
fn one_that_comes_back_late_goes_before_younger_ones_of_its_key() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen.in_order()).await;
        for n in [1, 5, 3, 4, 2] {
            desk.deliver("alice", n).await;
        }
        for n in 1..=5 {
            assert_eq!(desk.begun(), (1..=n).collect::<Vec<_>>());
            desk.end(n, Ok(())).await;
        }
        desk.stop().await;
    });
}

#[test]
fn the_turn_passes_on_when_the_event_whose_turn_it_was_has_become_anothers() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen.in_order().slots(1).hold(8)).await;
        desk.deliver("bob", 1).await;
        for n in 2..=4 {
            desk.deliver("alice", n).await;
        }
        assert_eq!(desk.begun(), [1]);
        desk.lose(&[2, 3]).await;
        desk.end(1, Ok(())).await;
        assert_eq!(desk.begun(), [1, 4]);
        desk.end(4, Ok(())).await;
        desk.stop().await;
    });
}

#[test]
fn the_next_of_a_key_waits_until_the_dead_letter_is_with_the_broker() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen.in_order()).await;
        for n in 1..=2 {
            desk.deliver("alice", n).await;
        }
        desk.script.answers.send_replace(false);
        desk.end(1, Err("no")).await;
        assert_eq!((desk.begun(), desk.script.asked()), (vec![1], vec![Asked::Bury(at(1), "no".to_owned())]));
        desk.script.answers.send_replace(true);
        settle().await;
        assert_eq!(desk.begun(), [1, 2]);
        desk.end(2, Ok(())).await;
        desk.stop().await;
    });
}

#[test]
fn a_listener_that_stops_ends_its_subscription_first_and_leaves_what_has_not_begun() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen.in_order().slots(2)).await;
        for (user, n) in [("alice", 1), ("alice", 2), ("bob", 3), ("bob", 4), ("carol", 5)] {
            desk.deliver(user, n).await;
        }
        desk.script.answers.send_replace(false);
        desk.listener.stop();
        // What it had been brought by then.
        let message = desk.message("alice", 6).await;
        assert!(desk.script.deliver(at(6), 1, &message));
        settle().await;
        let asked = desk.script.asked();
        assert!(asked.contains(&Asked::Stop), "{asked:?}");
        let left = asked.iter().filter_map(|it| if let Asked::Release(ids) = it { Some(ids) } else { None });
        let mut left: Vec<_> = left.flatten().copied().collect();
        left.sort_unstable();
        assert_eq!(left, ids(&[2, 4, 5, 6]));
        desk.script.answers.send_replace(true);
        settle().await;
        desk.end(1, Ok(())).await;
        desk.end(3, Ok(())).await;
        assert_eq!(desk.listener.stopped().await, StopReason::Asked);
        assert_eq!(desk.begun(), [1, 3]);
        assert_eq!(desk.script.asked(), [Asked::Acknowledge(ids(&[1])), Asked::Acknowledge(ids(&[3]))]);
    });
}

#[test]
fn a_listener_whose_transport_is_gone_lets_its_handlers_end_and_stops() {
    paused(|_| async {
        let desk = Desk::new(|listen| listen).await;
        desk.deliver("alice", 1).await;
        desk.script.state.lock().unwrap().refuse = Some(TransportError::Closed);
        desk.script.close();
        settle().await;
        desk.end(1, Ok(())).await;
        assert_eq!(desk.listener.stopped().await, StopReason::Closed);
    });
}

#[test]
fn a_command_that_the_broker_refuses_is_logged_and_nothing_hangs() {
    paused_and(
        |_| async {
            let desk = Desk::new(|listen| listen.in_order()).await;
            for n in 1..=3 {
                desk.deliver("alice", n).await;
            }
            desk.script.state.lock().unwrap().refuse = Some(TransportError::Refused("no".to_owned()));
            desk.end(1, Ok(())).await;
            desk.end(2, Err("wrong")).await;
            assert_eq!(desk.begun(), [1, 2, 3]);
            desk.end(3, Ok(())).await;
            assert_eq!(desk.script.free(), 128);
            desk.script.state.lock().unwrap().refuse = None;
            desk.stop().await;
        },
        |test| {
            let all = complaints(test);
            let refused = all.iter().filter(|record| record.message.contains("they come again"));
            assert_eq!((refused.count(), all.len()), (3, 4), "{all:?}");
        },
    );
}

#[test]
fn an_event_that_is_lost_on_the_way_is_sent_again_with_the_same_id() {
    paused(|_| async {
        let script = Script::new();
        let bus = script.bus();
        let lost = || Some(Err(TransportError::Lost("reset".into())));
        script.state.lock().unwrap().published = vec![lost(), lost(), Some(Ok(EventId(7, 0)))];
        assert_eq!(bus.fire(&changed("alice", 1)).await, Ok(EventId(7, 0)));
        let messages = script.state.lock().unwrap().messages.clone();
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().all(|message| *message == messages[0]));
    });
}

#[test]
fn an_event_that_is_not_stored_in_time_says_what_it_has_waited_for() {
    paused(|_| async {
        let script = Script::new();
        let bus = script.bus();
        let second = Duration::from_secs(1);
        let waited = async |published, status: Status| {
            {
                let mut state = script.state.lock().unwrap();
                state.published = published;
                state.status = status;
            }
            match bus.fire(&changed("alice", 1)).within(second).await {
                Err(FireError::Timeout { after, waiting }) if after == second => waiting,
                other => panic!("{other:?}"),
            }
        };
        let (up, mut down, mut full) = (Status::new(), Status::new(), Status::new());
        down.connected = Err("refused".into());
        full.is_full = true;
        assert_eq!(waited(vec![None], up.clone()).await, Waiting::Broker);
        assert_eq!(waited(vec![None], down.clone()).await, Waiting::Connection("refused".into()));
        assert_eq!(waited(vec![None], full).await, Waiting::Queue);
        // It may have got there the first time, wherever it waits now.
        let lost = Some(Err(TransportError::Lost("reset".into())));
        assert_eq!(waited(vec![lost.clone(), None], down).await, Waiting::Broker);
        // For ever lost, and still in time.
        assert_eq!(waited(vec![lost], up).await, Waiting::Broker);
        let refused = Some(Err(TransportError::Refused("no".to_owned())));
        script.state.lock().unwrap().published = vec![refused];
        let fired = bus.fire(&changed("alice", 1)).await;
        assert_eq!(fired, Err(FireError::Refused("no".to_owned())));
    });
}

#[test]
fn a_start_that_fails_gives_its_name_back() {
    paused(|_| async {
        let script = Script::new();
        let bus = script.bus();
        let listen = || bus.listen("sender", |_: Changed| async {}).start();
        script.state.lock().unwrap().no_subscription = Some(TransportError::Refused("no".to_owned()));
        assert_eq!(listen().await.unwrap_err(), ListenError::Refused("no".to_owned()));
        script.state.lock().unwrap().no_subscription = Some(TransportError::Lost("reset".into()));
        let listener = listen().await.unwrap();
        listener.stop();
        listener.stopped().await;
    });
}

//! What is counted of events.
mod support;

use std::sync::Arc;
use std::time::Duration;

use logcontext_bus::{BusConfig, Delivered, FireError, OnError, Retry};
use support::figures::Figures;
use support::{Changed, changed, done, on_both, paused, tell};
use tokio::sync::Semaphore;

const NAME: &str = "presence.changed";
const GROUP: &str = "presence:sender";

#[test]
fn firing_is_counted_with_the_time_it_took() {
    on_both(|world| async move {
        let bus = world.bus_with(|config| BusConfig { max_message: 500, ..config });
        for n in 0..3 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        let error = bus.fire(&changed(&"x".repeat(500), 4)).await.unwrap_err();
        assert!(matches!(error, FireError::TooLarge { .. }));
        let labels = [("bus", "presence"), ("event", NAME)];
        let figures = Figures::of(&world.supervisor);
        assert_eq!(figures.count("bus_fire_seconds", &labels), 3);
        assert_eq!(figures.value("bus_fire_failures", &labels), 1.0);
        drop(bus);
        assert_eq!(Figures::of(&world.supervisor).count("bus_fire_seconds", &[]), 0, "gone with the bus");
    });
}

#[test]
fn each_outcome_is_counted_by_itself() {
    paused(|world| async move {
        let bus = world.bus();
        for (name, policy) in [
            ("ignore", OnError::Ignore),
            ("log", OnError::AcknowledgeAndLog),
            ("bury", OnError::DeadLetter),
            ("stop", OnError::StopListener),
        ] {
            let handler = |event: Changed, about: Delivered| async move {
                if event.n == 1 && about.attempt() < 4 { Err("no") } else { Ok(()) }
            };
            let listen = bus.listen::<(Changed, Delivered)>(name, handler).on_error(policy);
            listen.retry(Retry::times(1)).slots(1).start().await.unwrap();
        }
        bus.fire(&changed("alice", 0)).await.unwrap();
        bus.fire(&changed("alice", 1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(90)).await;
        let figures = Figures::of(&world.supervisor);
        let of = |listener, name, outcome| {
            let labels = [("bus", "presence"), ("event", NAME), ("listener", listener), ("outcome", outcome)];
            let labels = if outcome.is_empty() { &labels[..3] } else { &labels };
            figures.value(name, labels)
        };
        for listener in ["ignore", "log", "bury", "stop"] {
            assert_eq!(of(listener, "bus_events_delivered", ""), 2.0);
            assert_eq!(of(listener, "bus_events_handled", "ok"), 1.0);
            assert_eq!(of(listener, "bus_event_retries", ""), 1.0);
            assert_eq!(of(listener, "bus_events_held", ""), 1.0, "it is pausing");
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let figures = Figures::of(&world.supervisor);
        let of =
            |listener, name, outcome| figures.value(name, &[("listener", listener), ("outcome", outcome)]);
        for (listener, outcome) in [("ignore", "ignored"), ("log", "logged"), ("bury", "dead_letter")] {
            assert_eq!(of(listener, "bus_events_handled", outcome), 1.0, "{listener}");
            assert_eq!(figures.value("bus_events_handled", &[("listener", listener)]), 2.0, "{listener}");
            assert_eq!(figures.value("bus_events_held", &[("listener", listener)]), 0.0);
            assert_eq!(figures.count("bus_event_handler_seconds", &[("listener", listener)]), 3);
        }
        let stopped =
            figures.values.iter().any(|(_, labels, _)| labels.iter().any(|(_, value)| value == "stop"));
        assert!(!stopped, "a listener's figures are gone with it");
    });
}

#[test]
fn what_runs_and_what_is_held_is_shown() {
    on_both(|world| async move {
        let bus = world.bus();
        let gate = Arc::new(Semaphore::new(0));
        let (tell, mut told) = tell();
        let gates = Arc::clone(&gate);
        let handler = move |_: Changed| {
            let (gate, tell) = (Arc::clone(&gates), tell.clone());
            async move {
                let _ = tell.send(());
                gate.acquire().await.unwrap().forget();
            }
        };
        bus.listen::<Changed>("sender", handler).slots(2).hold(5).start().await.unwrap();
        for n in 0..10 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        assert!(told.recv().await.is_some() && told.recv().await.is_some());
        let shown = || {
            let figures = Figures::of(&world.supervisor);
            (figures.value("bus_event_handlers_running", &[]), figures.value("bus_events_held", &[]))
        };
        support::until(|| shown() == (2.0, 5.0)).await;
        gate.add_permits(10);
        done(&bus, NAME, GROUP).await;
        support::until(|| shown() == (0.0, 0.0)).await;
    });
}

#[test]
fn who_is_behind_is_shown_by_the_one_bus_that_looks_after_the_streams() {
    paused(|world| async move {
        let bus = world.bus();
        let listener = bus.listen::<Changed>("sender", |_: Changed| async { Err::<(), _>("no") });
        let listener = listener.on_error(OnError::DeadLetter).start().await.unwrap();
        bus.fire(&changed("alice", 1)).await.unwrap();
        done(&bus, NAME, GROUP).await;
        listener.stop();
        listener.stopped().await;
        bus.fire(&changed("alice", 2)).await.unwrap();
        bus.fire(&changed("alice", 3)).await.unwrap();
        tokio::time::sleep(BusConfig::new("presence", "memory:").retention.every * 2).await;
        let figures = Figures::of(&world.supervisor);
        let labels = [("bus", "presence"), ("event", NAME), ("group", GROUP)];
        assert_eq!(figures.value("bus_group_unread", &labels), 2.0);
        assert_eq!(figures.value("bus_group_pending", &labels), 0.0);
        assert_eq!(figures.value("bus_dead_letters", &labels[..2]), 1.0);
    });
}

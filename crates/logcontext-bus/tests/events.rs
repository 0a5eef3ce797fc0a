//! Firing and listening.
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use logcontext::{FutureExt, LogContext, Request, current_context};
use logcontext_bus::transport::{Page, Since};
use logcontext_bus::{Bus, BusConfig, Delivered, FireError, ListenError, ListenerState, StopReason};
use support::{Changed, changed, done, on_both, paused, tell};

#[test]
fn an_event_is_handled_once_by_each_group_and_then_acknowledged() {
    on_both(|world| async move {
        let (bus, other) = (world.bus(), world.bus());
        let (tell, mut told) = tell();
        for (bus, name) in [(&bus, "sender"), (&other, "sender"), (&bus, "audit")] {
            let tell = tell.clone();
            let handler = move |event: Changed| {
                let _ = tell.send((name, event.n));
                async {}
            };
            bus.listen::<Changed>(name, handler).start().await.unwrap();
        }
        for n in 0..20 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        let mut got = Vec::new();
        for _ in 0..40 {
            got.push(told.recv().await.unwrap());
        }
        for group in ["presence:sender", "presence:audit"] {
            done(&bus, "presence.changed", group).await;
        }
        assert!(told.try_recv().is_err());
        got.sort_unstable();
        let expected: Vec<_> = (0..20).map(|n| ("audit", n)).chain((0..20).map(|n| ("sender", n))).collect();
        assert_eq!(got, expected);
        assert_eq!(bus.groups("presence.changed").await.unwrap(), ["presence:audit", "presence:sender"]);
        assert_eq!(bus.events().await.unwrap(), ["presence.changed"]);
    });
}

#[test]
fn a_handler_runs_in_a_context_of_its_own_that_is_linked_to_the_one_that_fired() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |_: Changed, about: Delivered| {
            let tell = tell.clone();
            async move { _ = tell.send((current_context(), about)) }
        };
        let listener = bus.listen("sender", handler).start().await.unwrap();
        let request =
            LogContext::builder("GET-17").request(Request::new("PUT", "/presence/alice").id("r-17")).start();
        let id = async { bus.fire(&changed("alice", 1)).await.unwrap() }.in_context(request).await;
        let (context, about) = told.recv().await.unwrap();
        assert!(context.name().starts_with("presence.changed-sender-"), "{context}");
        assert_eq!(context.label(), Some("presence.changed-sender"));
        assert_eq!((context.started_by(), context.request_id()), (Some("GET-17"), Some("r-17")));
        assert_eq!(context.call_depth(), 1);
        assert_eq!(
            (context.request().unwrap().method(), context.request().unwrap().path()),
            ("EVENT", "presence.changed")
        );
        assert_eq!((about.id(), &*about.sender(), about.key()), (id, bus.identity(), Some("alice")));
        assert_eq!((about.deliveries(), about.attempt(), about.is_retried_dead_letter()), (1, 1, false));
        listener.stop();
        assert_eq!(listener.stopped().await, StopReason::Asked);
        assert_eq!(listener.state(), ListenerState::Stopped(StopReason::Asked));
    });
}

#[test]
fn a_listener_may_fire_what_it_listens_to() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let fires = bus.clone();
        let handler = move |event: Changed| {
            let (fires, tell) = (fires.clone(), tell.clone());
            async move {
                if event.n < 300 {
                    // Two of them for each, up to a point: more than there are slots.
                    fires.fire(&changed("alice", event.n * 2 + 1)).await?;
                    fires.fire(&changed("alice", event.n * 2 + 2)).await?;
                }
                let _ = tell.send(event.n);
                Ok::<_, FireError>(())
            }
        };
        bus.listen::<Changed>("sender", handler).slots(1).start().await.unwrap();
        bus.fire(&changed("alice", 0)).await.unwrap();
        let mut got = Vec::new();
        for _ in 0..601 {
            got.push(told.recv().await.unwrap());
        }
        got.sort_unstable();
        assert!(got.iter().copied().eq(0..601), "{got:?}");
        done(&bus, "presence.changed", "presence:sender").await;
    });
}

#[test]
fn so_many_handlers_run_side_by_side_and_no_more() {
    on_both(|world| async move {
        let bus = world.bus();
        let running = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let (begun, mut begins) = tell();
        let handler = {
            let (running, gate) = (Arc::clone(&running), Arc::clone(&gate));
            move |_: Changed| {
                let (running, gate, begun) = (Arc::clone(&running), Arc::clone(&gate), begun.clone());
                async move {
                    let now = running.fetch_add(1, Relaxed) + 1;
                    let _ = begun.send(now);
                    gate.acquire().await.unwrap().forget();
                    running.fetch_sub(1, Relaxed);
                }
            }
        };
        bus.listen::<Changed>("sender", handler).slots(3).hold(10).start().await.unwrap();
        for n in 0..12 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        for _ in 0..3 {
            assert!(begins.recv().await.unwrap() <= 3);
        }
        support::settle().await;
        assert_eq!((running.load(Relaxed), begins.try_recv().is_err()), (3, true));
        gate.add_permits(12);
        for _ in 0..9 {
            assert!(begins.recv().await.unwrap() <= 3);
        }
        done(&bus, "presence.changed", "presence:sender").await;
    });
}

#[test]
fn a_new_group_begins_where_it_says_and_a_known_one_goes_on() {
    on_both(|world| async move {
        let bus = world.bus();
        bus.fire(&changed("alice", 1)).await.unwrap();
        let (tell, mut told) = tell();
        let listen = |name: &'static str, since| {
            let tell = tell.clone();
            let handler = move |event: Changed| {
                let _ = tell.send((name, event.n));
                async {}
            };
            bus.listen::<Changed>(name, handler).since(since).start()
        };
        let all = listen("all", Since::Start).await.unwrap();
        let new = listen("new", Since::Now).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), ("all", 1));
        bus.fire(&changed("alice", 2)).await.unwrap();
        let mut got = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        got.sort_unstable();
        assert_eq!(got, [("all", 2), ("new", 2)]);
        for listener in [all, new] {
            listener.stop();
            listener.stopped().await;
        }
        bus.fire(&changed("alice", 3)).await.unwrap();
        listen("new", Since::Start).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), ("new", 3));
        let lag = bus.lag("presence.changed", "presence:all").await.unwrap();
        assert_eq!((lag.unread, lag.pending), (1, 0));
    });
}

#[test]
fn a_name_is_one_listeners_until_that_has_ended() {
    on_both(|world| async move {
        let bus = world.bus();
        let listen = |bus: &Bus, name: &str| bus.listen(name, |_: Changed| async {}).start();
        let first = listen(&bus, "sender").await.unwrap();
        let taken = ListenError::Taken { event: "presence.changed", listener: "sender".to_owned() };
        assert_eq!(listen(&bus, "sender").await.unwrap_err(), taken);
        assert!(listen(&world.bus(), "sender").await.is_ok(), "another bus has its own");
        first.stop();
        first.stopped().await;
        assert!(listen(&bus, "sender").await.is_ok());
        assert!(matches!(listen(&bus, "no name").await, Err(ListenError::Name(_))));
    });
}

#[test]
fn settings_that_cannot_be_are_refused() {
    on_both(|world| async move {
        let bus = world.bus();
        let listen = || bus.listen("sender", |_: Changed| async {});
        let wrong = [
            (listen().slots(0), "slots is 0: expected at least 1"),
            (listen().slots(4).hold(3), "hold is 3: expected at least slots, 4"),
            (listen().max_deliveries(0), "max_deliveries is 0: expected at least 1"),
        ];
        for (listen, why) in wrong {
            assert_eq!(listen.start().await.unwrap_err(), ListenError::Setting(why.to_owned()));
        }
        assert!(listen().start().await.is_ok(), "the name is free");
    });
}

#[test]
fn what_is_too_large_is_not_fired() {
    on_both(|world| async move {
        let bus = world.bus_with(|config| BusConfig { max_message: 500, ..config });
        bus.fire(&changed("alice", 1)).await.unwrap();
        let error = bus.fire(&changed(&"x".repeat(500), 1)).await.unwrap_err();
        let FireError::TooLarge { size, limit: 500 } = error else { panic!("{error}") };
        assert!(size > 1_000, "the key is in the head as well: {size}");
        let page = Page { before: None, limit: 10 };
        let history = bus.history("presence.changed", page).await.unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].body, r#"{"user":"alice","n":1}"#);
        assert_eq!(
            (history[0].sender.as_deref(), history[0].key.as_deref()),
            (Some(bus.identity()), Some("alice"))
        );
    });
}

#[test]
fn sync_code_fires_and_so_does_any_other_runtime() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |event: Changed| {
            let _ = tell.send(event.n);
            async {}
        };
        bus.listen::<Changed>("sender", handler).in_order().start().await.unwrap();
        let from_sync = bus.clone();
        let thread = logcontext::spawn_blocking(move || {
            from_sync.fire(&changed("alice", 1)).blocking().unwrap();
            let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
            // It has no timers: none of its own is needed.
            other.block_on(from_sync.fire(&changed("alice", 2)).into_future()).unwrap();
        });
        thread.await.unwrap();
        let mut got = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        done(&bus, "presence.changed", "presence:sender").await;
    });
}

#[test]
fn a_listener_goes_on_when_its_handles_are_gone_and_ends_with_the_service() {
    on_both(|world| async move {
        let (supervisor, bus) = world.service(|config| config);
        let (tell, mut told) = tell();
        let handler = move |event: Changed| {
            let _ = tell.send(event.n);
            async {}
        };
        drop(bus.listen::<Changed>("sender", handler).start().await.unwrap());
        drop(bus);
        let other = world.bus();
        other.fire(&changed("alice", 1)).await.unwrap();
        assert_eq!(told.recv().await, Some(1));
        assert!(supervisor.shutdown(Duration::from_secs(5)).await.aborted.is_empty());
        assert_eq!(told.recv().await, None, "the handler is gone, and with it the bus");
        other.fire(&changed("alice", 2)).await.unwrap();
        let lag = other.lag("presence.changed", "presence:sender").await.unwrap();
        assert_eq!((lag.unread, lag.pending), (1, 0));
    });
}

#[test]
fn nobody_listens_any_more_once_the_service_is_shutting_down() {
    paused(|world| async move {
        let (supervisor, bus) = world.service(|config| config);
        supervisor.shutdown(Duration::from_secs(5)).await;
        let refused = bus.listen("sender", |_: Changed| async {}).start().await;
        assert_eq!(refused.unwrap_err(), ListenError::ShuttingDown);
    });
}

#[test]
fn what_is_closed_says_so() {
    on_both(|world| async move {
        let bus = world.bus();
        let listener = bus.listen("sender", |_: Changed| async {}).start().await.unwrap();
        bus.close(Duration::from_secs(1)).await;
        assert_eq!(listener.stopped().await, StopReason::Closed);
        assert_eq!(bus.fire(&changed("alice", 1)).await, Err(FireError::Closed));
        let refused = bus.listen("other", |_: Changed| async {}).start().await;
        assert_eq!(refused.unwrap_err(), ListenError::Closed);
    });
}

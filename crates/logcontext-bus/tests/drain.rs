//! How listeners end.
mod support;

use std::time::Duration;

use logcontext::Ending;
use logcontext_bus::{Delivered, ListenerState, Retry, StopReason};
use support::{Changed, changed, complaints, done, on_both, on_both_and, paused, paused_and, tell, until};

const NAME: &str = "presence.changed";
const GROUP: &str = "presence:sender";

#[test]
fn a_shutdown_waits_for_handlers_and_leaves_what_has_not_begun() {
    on_both(|world| async move {
        let (supervisor, bus) = world.service(|config| config);
        let (tell, mut told) = tell();
        let (go, gone) = tokio::sync::watch::channel(false);
        let handler = move |event: Changed| {
            let (tell, mut gone) = (tell.clone(), gone.clone());
            async move {
                let _ = tell.send(event.n);
                let _ = gone.wait_for(|gone| *gone).await;
            }
        };
        let listen = bus.listen::<Changed>("sender", handler).slots(2).hold(5);
        let listener = listen.start().await.unwrap();
        let other = world.bus();
        for n in 0..10 {
            other.fire(&changed("alice", n)).await.unwrap();
        }
        assert!(told.recv().await.is_some() && told.recv().await.is_some());
        let shutdown = supervisor.shutdown(Duration::from_secs(30));
        tokio::pin!(shutdown);
        tokio::select! {
            biased;
            _ = &mut shutdown => panic!("two handlers run"),
            () = until(|| listener.state() == ListenerState::Stopping(StopReason::ShuttingDown)) => {}
        }
        // What is left is there for others while its handlers run.
        let (seen, mut sees) = support::tell();
        let next = other.listen("sender", move |event: Changed| {
            let _ = seen.send(event.n);
            async {}
        });
        next.start().await.unwrap();
        let mut got = Vec::new();
        for _ in 0..8 {
            got.push(tokio::select! {
                _ = &mut shutdown => panic!("two handlers run"),
                n = sees.recv() => n.unwrap(),
            });
        }
        got.sort_unstable();
        assert!(got.iter().copied().eq(2..10), "{got:?}");
        let _ = go.send(true);
        assert!(shutdown.await.aborted.is_empty());
        assert_eq!(listener.state(), ListenerState::Stopped(StopReason::ShuttingDown));
        assert!(told.try_recv().is_err(), "nothing more was begun");
        done(&other, NAME, GROUP).await;
        assert!(sees.try_recv().is_err(), "what was handled was acknowledged");
    });
}

#[test]
fn a_handler_that_is_aborted_at_the_deadline_stays_pending_and_comes_to_another() {
    paused(|world| async move {
        let (supervisor, bus) = world.service(|config| config);
        let (tell, mut told) = tell();
        let handler = move |_: Changed| {
            let _ = tell.send(());
            std::future::pending::<()>()
        };
        let listener = bus.listen::<Changed>("sender", handler).start().await.unwrap();
        let other = world.bus();
        other.fire(&changed("alice", 1)).await.unwrap();
        told.recv().await.unwrap();
        let shutdown = supervisor.shutdown(Duration::from_secs(5)).await;
        let mut aborted: Vec<_> = shutdown.aborted.iter().map(|running| running.name.to_string()).collect();
        aborted.sort_unstable();
        assert_eq!(aborted, ["presence.changed-sender", "presence.changed-sender-loop"]);
        let handler =
            shutdown.aborted.iter().find(|running| &*running.name == "presence.changed-sender").unwrap();
        assert_eq!(handler.context.ending(), Some(Ending::Cancelled));
        assert_eq!(listener.stopped().await, StopReason::Aborted);
        let lag = other.lag(NAME, GROUP).await.unwrap();
        assert_eq!((lag.unread, lag.pending), (0, 1));
        drop((bus, shutdown));
        let (tell, mut told) = support::tell();
        let handler = move |event: Changed, about: Delivered| {
            let _ = tell.send((event.n, about.deliveries()));
            async {}
        };
        other.listen("sender", handler).start().await.unwrap();
        assert_eq!(told.recv().await, Some((1, 2)));
        done(&other, NAME, GROUP).await;
    });
}

#[test]
fn a_failure_during_the_shutdown_leaves_the_event_for_others() {
    on_both_and(
        |world| async move {
            let (supervisor, bus) = world.service(|config| config);
            let (tell, mut told) = tell();
            let down = supervisor.clone();
            let handler = move |_: Changed| {
                let (tell, down) = (tell.clone(), down.clone());
                async move {
                    let _ = tell.send(());
                    down.shutting_down().await;
                    Err::<(), _>("what it needs has gone")
                }
            };
            bus.listen::<Changed>("sender", handler).start().await.unwrap();
            bus.fire(&changed("alice", 1)).await.unwrap();
            told.recv().await.unwrap();
            assert!(supervisor.shutdown(Duration::from_secs(30)).await.aborted.is_empty());
            let other = world.bus();
            let lag = other.lag(NAME, GROUP).await.unwrap();
            assert_eq!((lag.unread, lag.pending), (0, 1));
            assert_eq!(other.dead_letter_count(NAME).await.unwrap(), 0);
        },
        |test| {
            let complaints = complaints(test);
            assert_eq!(complaints.len(), 1, "{complaints:?}");
            assert_eq!(complaints[0].message, "handler failed during the shutdown: left for others");
        },
    );
}

#[test]
fn a_listener_that_is_stopped_does_not_wait_for_its_retries() {
    paused_and(
        |world| async move {
            let bus = world.bus();
            let (tell, mut told) = tell();
            let handler = move |_: Changed| {
                let _ = tell.send(());
                async { Err::<(), _>("no") }
            };
            let hour = Duration::from_secs(3_600);
            let retry = Retry::times(10).backoff(hour, hour);
            let listener = bus.listen::<Changed>("sender", handler).retry(retry).start().await.unwrap();
            bus.fire(&changed("alice", 1)).await.unwrap();
            told.recv().await.unwrap();
            support::settle().await;
            let before = tokio::time::Instant::now();
            listener.stop();
            assert_eq!(listener.stopped().await, StopReason::Asked);
            assert_eq!(before.elapsed(), Duration::ZERO);
            let lag = bus.lag(NAME, GROUP).await.unwrap();
            assert_eq!((lag.unread, lag.pending), (0, 1));
            assert!(told.try_recv().is_err());
        },
        |test| assert!(complaints(test).is_empty(), "it will be tried again, by somebody else"),
    );
}

#[test]
fn what_comes_and_goes_with_its_listener_and_was_never_begun_is_not_taken_for_poison() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let go = std::sync::Arc::new(tokio::sync::Notify::new());
        for n in 0..10 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        // Far more often than anything may be delivered.
        for n in 0..10 {
            let (tell, gone) = (tell.clone(), std::sync::Arc::clone(&go));
            let handler = move |event: Changed| {
                let (tell, gone) = (tell.clone(), std::sync::Arc::clone(&gone));
                async move {
                    let _ = tell.send(event.n);
                    gone.notified().await;
                }
            };
            let listen = bus.listen::<Changed>("sender", handler).in_order().slots(10).hold(10);
            let listener = listen.since(logcontext_bus::transport::Since::Start).start().await.unwrap();
            assert_eq!(told.recv().await, Some(n));
            listener.stop();
            go.notify_one();
            assert_eq!(listener.stopped().await, StopReason::Asked);
        }
        assert_eq!(bus.dead_letter_count(NAME).await.unwrap(), 0);
        done(&bus, NAME, GROUP).await;
        assert!(told.try_recv().is_err(), "each once");
    });
}

#[test]
fn a_listener_can_be_stopped_and_started_again_while_events_flow() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let fires = bus.clone();
        let firing = logcontext::run_in_background(async move {
            for n in 0..2_000 {
                fires.fire(&changed(&format!("user-{}", n % 10), n)).await.unwrap();
                if n % 10 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut seen = Vec::new();
        while seen.len() < 2_000 {
            let tell = tell.clone();
            let handler = move |event: Changed| {
                let _ = tell.send(event.n);
                async { tokio::task::yield_now().await }
            };
            let listen =
                bus.listen::<Changed>("sender", handler).since(logcontext_bus::transport::Since::Start);
            let listener = listen.in_order().start().await.unwrap();
            for _ in 0..100.min(2_000 - seen.len()) {
                seen.push(told.recv().await.unwrap());
            }
            listener.stop();
            assert_eq!(listener.stopped().await, StopReason::Asked);
            while let Ok(n) = told.try_recv() {
                seen.push(n);
            }
        }
        firing.await.unwrap();
        done(&bus, NAME, GROUP).await;
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..2_000), "each once");
    });
}

#[test]
fn a_bus_that_is_closed_lets_its_listeners_come_to_their_end() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |event: Changed| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(event.n);
                tokio::task::yield_now().await;
            }
        };
        let listener = bus.listen::<Changed>("sender", handler).start().await.unwrap();
        bus.fire(&changed("alice", 1)).await.unwrap();
        told.recv().await.unwrap();
        bus.close(Duration::from_secs(30)).await;
        assert_eq!(listener.state(), ListenerState::Stopped(StopReason::Closed));
        let lag = world.bus().lag(NAME, GROUP).await.unwrap();
        assert_eq!((lag.unread, lag.pending), (0, 0), "it was acknowledged");
    });
}

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Half(u64);

impl logcontext_bus::Rpc for Half {
    const NAME: &str = "half";
    type Response = u64;
    type Error = String;
}

#[test]
fn a_handler_that_drains_can_still_call_its_own_service() {
    on_both(|world| async move {
        let (supervisor, bus) = world.service(|config| config);
        bus.serve::<Half>(async |Half(n)| Ok(n / 2)).start().await.unwrap();
        let (tell, mut told) = tell();
        let (down, calls) = (supervisor.clone(), bus.clone());
        let handler = move |event: Changed| {
            let (tell, down, calls) = (tell.clone(), down.clone(), calls.clone());
            async move {
                let _ = tell.send(0);
                down.shutting_down().await;
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                let half = calls.call(Half(event.n)).await.map_err(|error| error.to_string())?;
                let _ = tell.send(half);
                Ok::<_, String>(())
            }
        };
        bus.listen::<Changed>("sender", handler).start().await.unwrap();
        let other = world.bus();
        other.fire(&changed("alice", 34)).await.unwrap();
        assert_eq!(told.recv().await, Some(0));
        assert!(supervisor.shutdown(Duration::from_secs(30)).await.aborted.is_empty());
        assert_eq!(told.recv().await, Some(17));
        done(&other, NAME, GROUP).await;
    });
}

//! What becomes of events whose handlers fail: each policy, on every way in.
mod support;

use std::time::Duration;

use logcontext::Supervisor;
use logcontext_bus::transport::Memory;
use logcontext_bus::{Bus, Delivered, Listen, Listener, ListenerState, OnError, StopReason};
use support::{Changed, World, changed, complaints, done, on_both_and, tell, until};
use tokio::sync::mpsc::UnboundedSender;

const GROUP: &str = "presence:sender";
const NAME: &str = "presence.changed";

/// How a handler fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Error,
    Panic,
}

fn handle(how: How, tell: &UnboundedSender<u64>, event: &Changed) -> Result<(), String> {
    let _ = tell.send(event.n);
    match how {
        _ if event.user != "fails" => Ok(()),
        How::Error => Err(format!("no {}\nnever", event.n)),
        How::Panic => panic!("no {}", event.n),
    }
}

/// A listener made on each of the four ways in.
fn listen(way: usize, bus: &Bus, how: How, tell: &UnboundedSender<u64>) -> Listen {
    let tell = tell.clone();
    match way {
        0 => bus.listen("sender", move |event: Changed| {
            let tell = tell.clone();
            async move { handle(how, &tell, &event) }
        }),
        1 => bus.listen("sender", move |event: Changed, _: Delivered| {
            let tell = tell.clone();
            async move { handle(how, &tell, &event) }
        }),
        2 => bus.listen_blocking("sender", move |event: Changed| handle(how, &tell, &event)),
        _ => bus.listen_blocking("sender", move |event: Changed, _: Delivered| handle(how, &tell, &event)),
    }
}

/// Each way in, each way to fail, both runtimes; `logged` says how often a failure is complained of.
fn on_every_way<F>(policy: OnError, f: impl Fn(Case) -> F + Copy)
where
    F: Future<Output = ()> + Send + 'static,
{
    for way in 0..4 {
        for how in [How::Error, How::Panic] {
            let case = |world: World| {
                let (supervisor, bus) = world.service(|config| config);
                let (tell, told) = tell();
                let listen = Some(listen(way, &bus, how, &tell).on_error(policy).slots(1));
                let other = world.bus();
                f(Case { supervisor, bus, other, broker: world.broker, listen, told })
            };
            on_both_and(case, |test| {
                let complaints = complaints(test);
                let quiet = policy == OnError::Ignore && how == How::Error;
                // That the service is to end is said by the supervisor.
                let of_service = usize::from(policy == OnError::Shutdown);
                assert_eq!(
                    complaints.len(),
                    usize::from(!quiet) + of_service,
                    "{way} {how:?} {complaints:?}"
                );
                let Some(complaint) = complaints.first() else { return };
                assert!(complaint.context.name().starts_with("presence.changed-sender-"), "{complaint:?}");
                match how {
                    How::Error => {
                        assert_eq!(complaint.target, "logcontext::bus");
                        assert_eq!(complaint.field("error"), Some("no 1\u{fffd}never"));
                        assert!(complaint.field("sender").unwrap().starts_with("presence/"));
                    }
                    How::Panic => assert_eq!(complaint.message, "panicked: no 1"),
                }
            });
        }
    }
}

struct Case {
    supervisor: Supervisor,
    bus: Bus,
    other: Bus,
    broker: Memory,
    listen: Option<Listen>,
    told: tokio::sync::mpsc::UnboundedReceiver<u64>,
}

impl Case {
    async fn start(&mut self) -> Listener {
        self.listen.take().expect("once").start().await.unwrap()
    }

    /// One that fails, and one that does not.
    async fn fire(&self) {
        self.other.fire(&changed("fails", 1)).await.unwrap();
        self.other.fire(&changed("alice", 2)).await.unwrap();
    }

    async fn lag(&self) -> (u64, u64) {
        let lag = self.other.lag(NAME, GROUP).await.unwrap();
        (lag.unread, lag.pending)
    }

    /// Both were handled, and the listener listens.
    async fn both_are_handled(&mut self) {
        let mut got = [self.told.recv().await.unwrap(), self.told.recv().await.unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        done(&self.other, NAME, GROUP).await;
    }

    async fn end(self) {
        assert!(self.supervisor.shutdown(Duration::from_secs(10)).await.aborted.is_empty());
        drop((self.bus, self.other, self.broker));
    }
}

#[test]
fn ignored_failures_are_done() {
    on_every_way(OnError::Ignore, |mut case| async move {
        let listener = case.start().await;
        case.fire().await;
        case.both_are_handled().await;
        assert_eq!(listener.state(), ListenerState::Listening);
        assert_eq!(case.other.dead_letter_count(NAME).await.unwrap(), 0);
        case.end().await;
    });
}

#[test]
fn logged_failures_are_done() {
    on_every_way(OnError::AcknowledgeAndLog, |mut case| async move {
        let listener = case.start().await;
        case.fire().await;
        case.both_are_handled().await;
        assert_eq!(listener.state(), ListenerState::Listening);
        assert_eq!(case.other.dead_letter_count(NAME).await.unwrap(), 0);
        case.end().await;
    });
}

#[test]
fn by_default_failures_become_dead_letters() {
    assert_eq!(OnError::default(), OnError::DeadLetter);
    on_every_way(OnError::DeadLetter, |mut case| async move {
        let listener = case.start().await;
        case.fire().await;
        case.both_are_handled().await;
        assert_eq!(listener.state(), ListenerState::Listening);
        let letters = case.other.dead_letters(NAME, 10).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert!(letters[0].reason.contains("no 1") && !letters[0].reason.contains('\n'), "{letters:?}");
        assert_eq!((&*letters[0].group, letters[0].deliveries), (GROUP, 1));
        assert_eq!(letters[0].body, r#"{"user":"fails","n":1}"#);
        assert_eq!(letters[0].sender.as_deref(), Some(case.other.identity()));
        case.end().await;
    });
}

#[test]
fn a_failure_stops_the_listener_and_leaves_the_event_for_others() {
    on_every_way(OnError::StopListener, |mut case| async move {
        let listener = case.start().await;
        case.fire().await;
        assert_eq!(case.told.recv().await, Some(1));
        let StopReason::Failed(why) = listener.stopped().await else { panic!("{listener:?}") };
        assert!(why.contains("no 1"), "{why}");
        assert_eq!(listener.state(), ListenerState::Stopped(StopReason::Failed(why)));
        let (unread, pending) = case.lag().await;
        assert_eq!(unread + pending, 2, "neither is done");
        assert!(!case.supervisor.is_shutting_down());
        // Another one has both, at once.
        let (tell, mut told) = tell();
        let handler = move |event: Changed, about: Delivered| {
            let _ = tell.send((event.n, about.deliveries()));
            async {}
        };
        let next = case.other.listen("sender", handler).in_order().start().await.unwrap();
        let mut got = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        got.sort_unstable();
        assert_eq!(got[0], (1, 2));
        assert_eq!(got[1].0, 2);
        done(&case.other, NAME, GROUP).await;
        next.stop();
        next.stopped().await;
        case.end().await;
    });
}

#[test]
fn a_failure_asks_the_service_to_shut_down_and_leaves_the_event_for_others() {
    on_every_way(OnError::Shutdown, |mut case| async move {
        let listener = case.start().await;
        case.fire().await;
        assert_eq!(case.told.recv().await, Some(1));
        let why = case.supervisor.asked_to_shut_down().await;
        assert!(why.starts_with("the listener sender could not handle presence.changed "), "{why}");
        assert!(matches!(listener.stopped().await, StopReason::Failed(_)));
        let (unread, pending) = case.lag().await;
        assert_eq!(unread + pending, 2, "neither is done");
        case.end().await;
    });
}

#[test]
fn what_runs_beside_a_failure_that_stops_the_listener_comes_to_its_end() {
    on_both_and(
        |world| async move {
            let bus = world.bus();
            let (tell, mut told) = tell();
            let (go, gone) = tokio::sync::watch::channel(false);
            let handler = move |event: Changed| {
                let (tell, mut gone) = (tell.clone(), gone.clone());
                async move {
                    let _ = tell.send(event.n);
                    if event.n == 2 {
                        return Err("no");
                    }
                    let _ = gone.wait_for(|gone| *gone).await;
                    Ok(())
                }
            };
            let listen = bus.listen::<Changed>("sender", handler).on_error(OnError::StopListener);
            let listener = listen.slots(2).start().await.unwrap();
            for n in 1..=2 {
                bus.fire(&changed("alice", n)).await.unwrap();
            }
            assert!(told.recv().await.is_some() && told.recv().await.is_some());
            until(|| matches!(listener.state(), ListenerState::Stopping(_))).await;
            let _ = go.send(true);
            assert_eq!(listener.stopped().await, StopReason::Failed("no".into()));
            let lag = bus.lag(NAME, GROUP).await.unwrap();
            assert_eq!((lag.unread, lag.pending), (0, 1), "the first is done, the second is left");
        },
        |test| assert_eq!(complaints(test).len(), 1),
    );
}

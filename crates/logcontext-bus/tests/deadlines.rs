//! Deadlines: of who calls, and of who serves.

mod calling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use calling::{Change, Echo, Gate, TellsDrop, echo, echoed, figure, on_both_runtimes, with_stopped_clock};
use logcontext::{Ending, current_context, run_in_background};
use logcontext_bus::transport::Status;
use logcontext_bus::{CallError, Waiting};
use tokio::time::Instant;
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);

fn timeout(after: Duration, waiting: Waiting) -> Result<String, CallError<String>> {
    Err(CallError::Timeout { after, waiting })
}

#[test]
fn a_call_is_over_when_its_time_is_and_says_what_it_has_waited_for() {
    with_stopped_clock(|rig| async move {
        let down: Arc<str> = "connection refused".into();
        let mut no_connection = Status::new();
        no_connection.connected = Err(down.clone());
        let mut full = Status::new();
        full.is_full = true;
        let holds =
            |status: &Status| Change { holds_calls: true, status: Some(status.clone()), ..Change::default() };
        let loses = Change { loses_calls: true, ..Change::default() };
        for (change, waiting) in [
            (holds(&no_connection), Waiting::Connection(down.clone())),
            (holds(&full), Waiting::Queue),
            (holds(&Status::new()), Waiting::Broker),
            (
                Change { status: Some(no_connection.clone()), ..loses.clone() },
                Waiting::Connection(down.clone()),
            ),
            (loses.clone(), Waiting::Answer),
        ] {
            let (bus, tap) = rig.tapped(change);
            for after in [Duration::from_millis(1), SECOND, Duration::from_secs(7), Duration::from_secs(3600)]
            {
                let begun = Instant::now();
                let result = bus.call(echo("")).deadline(after).await;
                let took = begun.elapsed();
                assert_eq!(result, timeout(after, waiting.clone()));
                assert!(took >= after && took <= after + Duration::from_millis(4), "{took:?} of {after:?}");
            }
            assert_eq!((tap.inbox().waiting(), tap.transport().cancelled()), (0, 4));
        }
    });
}

#[test]
fn a_call_without_a_deadline_has_that_of_the_configuration() {
    with_stopped_clock(|rig| async move {
        let (bus, _tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        let begun = Instant::now();
        assert_eq!(bus.call(echo("")).await, timeout(5 * SECOND, Waiting::Answer));
        assert_eq!(begun.elapsed().as_secs(), 5);
    });
}

#[test]
fn many_deadlines_at_once_are_each_kept() {
    with_stopped_clock(|rig| async move {
        let (bus, tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        // From far to near, so that each is sooner than what was known of before.
        let calls: Vec<_> = (1..=300)
            .rev()
            .map(|n| {
                let after = Duration::from_millis(n * 37);
                let call = bus.call(echo("")).deadline(after).into_future();
                run_in_background(async move {
                    let begun = Instant::now();
                    assert!(matches!(call.await, Err(CallError::Timeout { .. })));
                    let took = begun.elapsed();
                    assert!(
                        took >= after && took <= after + Duration::from_millis(4),
                        "{took:?} of {after:?}"
                    );
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(tap.inbox().waiting(), 0);
    });
}

#[test]
fn a_call_that_waits_for_a_connection_is_made_when_there_is_one() {
    with_stopped_clock(|rig| async move {
        let (bus, gate) = (rig.bus(), Gate::new());
        let waits = gate.clone();
        let handler = move |Echo(text): Echo| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(text)
            }
        };
        let served = bus.serve::<Echo>(handler).slots(1).start().await.unwrap();
        let first = run_in_background(bus.call(echo("1")).into_future());
        rig.until(|| gate.waiting() == 1).await;
        // It waits for a slot, within its time.
        let second = run_in_background(bus.call(echo("2")).into_future());
        tokio::time::sleep(4 * SECOND).await;
        gate.open();
        assert_eq!(first.await.unwrap(), Ok("1".to_owned()));
        assert_eq!(second.await.unwrap(), Ok("2".to_owned()));
        served.stop().await;
    });
}

#[test]
fn a_handler_is_dropped_when_its_callers_time_is_over_and_its_context_says_so() {
    with_stopped_clock(|rig| async move {
        // A caller that does not say when it gives up: as one whose connection is gone.
        let (bus, tap) = rig.tapped(Change::default());
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |_: Echo| {
            let held = TellsDrop(tell.clone());
            async move {
                let _held = held;
                std::future::pending().await
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        let head = r#"{"wire":1,"rpc":"test.echo","version":1,"depth":0,"timeout_ms":3000,"from":{"sender":"other/1"}}"#;
        let begun = Instant::now();
        tap.send("test.echo", 17, head, r#""""#).await;
        assert_eq!(told.recv().await.unwrap(), "test.echo-0");
        let took = begun.elapsed();
        assert!(took >= 3 * SECOND && took <= 3 * SECOND + Duration::from_millis(4), "{took:?}");
        rig.until(|| tap.replies().len() == 1).await;
        assert_eq!(tap.replies()[0].0, r#"{"wire":1,"verdict":"expired"}"#);
        served.stop().await;
        let warned = rig.kit.records_at(Level::WARN);
        assert_eq!(warned.len(), 1);
        assert_eq!(warned[0].message, "handler cancelled: its caller waits no longer");
        assert_eq!(warned[0].context.name(), "test.echo-0");
        assert_eq!(warned[0].context.ending(), Some(Ending::Cancelled));
        assert_eq!(tap.inbox().handling(), 0);
    });
}

#[test]
fn a_call_that_has_come_too_late_is_not_begun() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let was_begun = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&was_begun);
        let handler = move |Echo(text): Echo| {
            begun.store(true, SeqCst);
            async move { Ok(text) }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        let head = r#"{"wire":1,"rpc":"test.echo","version":1,"depth":0,"timeout_ms":0,"from":{"sender":"other/1"}}"#;
        tap.send("test.echo", 17, head, r#""""#).await;
        rig.until(|| tap.replies().len() == 1).await;
        assert_eq!(tap.replies()[0].0, r#"{"wire":1,"verdict":"expired"}"#);
        assert!(!was_begun.load(SeqCst));
        let supervisor = rig.kit.supervisor();
        // There is nobody to hear of it.
        rig.until(|| figure(supervisor, "bus_served", &[("became", "unheard")]) == 1).await;
        served.stop().await;
        assert_eq!(rig.logged(Level::WARN), [("test.echo-0".to_owned(), "call refused".to_owned())]);
    });
}

#[test]
fn a_blocking_handler_can_ask_whether_its_callers_time_is_over() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |_: Echo, caller: logcontext_bus::Caller| {
            while !caller.is_cancelled() {
                std::thread::yield_now();
            }
            tell.send((current_context(), caller.remaining())).unwrap();
            Ok(String::new())
        };
        let served = bus.serve_blocking_with_caller::<Echo>(handler).start().await.unwrap();
        let after = Duration::from_millis(20);
        assert_eq!(bus.call(echo("")).deadline(after).await, timeout(after, Waiting::Answer));
        let (context, _) = told.recv().await.unwrap();
        served.stop().await;
        assert_eq!((context.name(), context.ending()), ("test.echo-0", Some(Ending::Cancelled)));
    });
}

#[test]
fn no_deadline_is_too_far_or_too_near() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Echo>(echoed).start().await.unwrap();
        assert!(bus.call(echo("")).deadline(Duration::MAX).await.is_ok());
        served.stop().await;
        let (bus, _tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        let result = bus.call(echo("")).deadline(Duration::ZERO).await;
        assert_eq!(result, timeout(Duration::ZERO, Waiting::Answer));
    });
}

#[test]
fn what_the_transport_says_is_told_as_it_is() {
    use logcontext_bus::transport::TransportError;
    on_both_runtimes(|rig| async move {
        for (fails, error) in [
            (TransportError::Closed, CallError::Closed),
            (TransportError::Lost("reset".into()), CallError::ConnectionLost("reset".into())),
            (TransportError::Refused("OOM".to_owned()), CallError::Refused("OOM".to_owned())),
        ] {
            let (bus, tap) = rig.tapped(Change { fails_calls: Some(fails), ..Change::default() });
            assert_eq!(bus.call(echo("")).await, Err(error));
            assert_eq!((tap.inbox().waiting(), tap.transport().cancelled()), (0, 0));
        }
        let (bus, tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        let calls: Vec<_> = (0..20).map(|_| run_in_background(bus.call(echo("")).into_future())).collect();
        rig.until(|| tap.inbox().waiting() == 20).await;
        assert_eq!(tap.inbox().lost_all(&"reset".into()), 20);
        for call in calls {
            assert_eq!(call.await.unwrap(), Err(CallError::ConnectionLost("reset".into())));
        }
    });
}

//! Callers that go before they are answered.

mod calling;

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use calling::{Change, Echo, Gate, Sum, TellsDrop, echo, figure, on_both_runtimes};
use logcontext::{Ending, current_context, run_in_background};
use logcontext_bus::{Caller, Rpc};
use tracing::Level;

#[test]
fn dropping_a_call_drops_its_handler_in_its_context() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |_: Echo| {
            let held = TellsDrop(tell.clone());
            begin.send(current_context()).unwrap();
            async move {
                let _held = held;
                std::future::pending().await
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        let call = run_in_background(bus.call(echo("")).into_future());
        let context = begun.recv().await.unwrap();
        call.abort();
        assert_eq!(told.recv().await.unwrap(), "test.echo-0");
        let supervisor = rig.kit.supervisor();
        rig.until(|| figure(supervisor, "bus_served", &[("became", "cancelled")]) == 1).await;
        rig.until(|| figure(supervisor, "bus_calls", &[("ending", "dropped")]) == 1).await;
        served.stop().await;
        assert_eq!(context.ending(), Some(Ending::Cancelled));
        assert_eq!((tap.inbox().waiting(), tap.inbox().handling()), (0, 0));
        assert!(tap.replies().is_empty());
        // Clients come and go: nothing to worry about.
        assert!(rig.logged(Level::WARN).is_empty() && rig.logged(Level::ERROR).is_empty());
    });
}

#[test]
fn a_call_that_has_come_and_is_cancelled_before_it_is_begun_is_not() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let begun = Gate::new();
        let passes = begun.clone();
        let handler = move |_: Echo| {
            let gate = passes.clone();
            async move {
                gate.pass().await;
                std::future::pending().await
            }
        };
        begun.open();
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        for n in 1..=20 {
            let mut call = Box::pin(bus.call(echo("")).into_future());
            let first = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            assert!(first.is_pending());
            drop(call);
            let supervisor = rig.kit.supervisor();
            rig.until(|| figure(supervisor, "bus_served", &[("became", "cancelled")]) == n).await;
        }
        served.stop().await;
        assert_eq!(tap.inbox().handling(), 0);
        // With two threads it may have been begun meanwhile.
        assert!(begun.passed() == 0 || rig.handle.metrics().num_workers() > 1);
    });
}

#[test]
fn a_blocking_handler_is_told_and_its_context_lasts_as_long_as_it_does() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let gate = Gate::new();
        let waits = gate.clone();
        let handler = move |_: Echo, caller: Caller| {
            begin.send(current_context()).unwrap();
            while !caller.is_cancelled() {
                std::thread::yield_now();
            }
            tell.send(()).unwrap();
            waits.pass_blocking();
            Ok(String::new())
        };
        let served = bus.serve_blocking_with_caller::<Echo>(handler).start().await.unwrap();
        let call = run_in_background(bus.call(echo("")).into_future());
        let context = begun.recv().await.unwrap();
        call.abort();
        told.recv().await.unwrap();
        assert!(!context.is_finished());
        gate.open();
        served.stop().await;
        assert_eq!(context.ending(), Some(Ending::Cancelled));
    });
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_for_a_slot_is_not_begun() {
    on_both_runtimes(|rig| async move {
        let (bus, gate) = (rig.bus(), Gate::new());
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let waits = gate.clone();
        let handler = move |Echo(text): Echo| {
            tell.send(text.clone()).unwrap();
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(text)
            }
        };
        let served = bus.serve::<Echo>(handler).slots(1).start().await.unwrap();
        let call = |text: &str| run_in_background(bus.call(echo(text)).into_future());
        let first = call("first");
        assert_eq!(told.recv().await.unwrap(), "first");
        let second = call("second");
        rig.until(|| figure(rig.kit.supervisor(), "bus_calls_in_flight", &[]) == 2).await;
        second.abort();
        rig.until(|| figure(rig.kit.supervisor(), "bus_calls_in_flight", &[]) == 1).await;
        let third = call("third");
        gate.open();
        assert!(first.await.unwrap().is_ok() && third.await.unwrap().is_ok());
        assert_eq!(told.recv().await.unwrap(), "third");
        served.stop().await;
    });
}

/// Ready after so many polls.
async fn yields(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_call_can_be_dropped_after_any_of_its_polls() {
    on_both_runtimes(|rig| async move {
        for is_slow in [false, true] {
            let (bus, tap) = rig.tapped(Change { is_slow, ..Change::default() });
            let handler = |Sum(n): Sum| async move {
                yields(n).await;
                Ok(u64::from(n))
            };
            let served = bus.serve::<Sum>(handler).start().await.unwrap();
            let mut answered = 0;
            for polls in 0..30 {
                let mut call = Box::pin(bus.call(Sum(3)).into_future());
                for _ in 0..polls {
                    let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
                    if let Poll::Ready(result) = polled {
                        assert_eq!(result, Ok(3));
                        answered += 1;
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(call);
                rig.until(|| tap.inbox().waiting() == 0 && tap.inbox().handling() == 0).await;
            }
            // On two threads the handler may need many of ours.
            assert!(answered > 0 || rig.handle.metrics().num_workers() > 1);
            assert_eq!(bus.call(Sum(0)).await, Ok(0));
            served.stop().await;
            assert_eq!((tap.inbox().waiting(), tap.inbox().handling()), (0, 0));
        }
    });
}

#[test]
fn nothing_is_left_of_ten_thousand_calls_some_of_which_are_dropped() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let handler = |Sum(n): Sum| async move {
            yields(n).await;
            Ok(u64::from(n))
        };
        let served = bus.serve::<Sum>(handler).slots(16).start().await.unwrap();
        let callers: Vec<_> = (0..50)
            .map(|caller| {
                let bus = bus.clone();
                run_in_background(async move {
                    let mut random = fastrand::Rng::with_seed(caller);
                    let mut answered = 0_u64;
                    for _ in 0..200 {
                        let (work, patience) = (random.u32(0..6), random.u32(0..40));
                        let mut call = pin!(bus.call(Sum(work)).into_future());
                        let mut left = patience;
                        let result = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
                            Poll::Ready(result) => Poll::Ready(Some(result)),
                            Poll::Pending if left == 0 => Poll::Ready(None),
                            Poll::Pending => {
                                left -= 1;
                                cx.waker().wake_by_ref();
                                Poll::Pending
                            }
                        })
                        .await;
                        if let Some(result) = result {
                            assert_eq!(result, Ok(u64::from(work)));
                            answered += 1;
                        }
                    }
                    answered
                })
            })
            .collect();
        let mut answered = 0;
        for caller in callers {
            answered += caller.await.unwrap();
        }
        let supervisor = rig.kit.supervisor();
        let ended = |ending| figure(supervisor, "bus_calls", &[("ending", ending)]);
        assert_eq!(ended("ok"), answered);
        assert_eq!(ended("ok") + ended("dropped"), 10_000);
        assert!(answered > 0 && answered < 10_000, "{answered}");
        assert_eq!(tap.inbox().waiting(), 0);
        rig.until(|| tap.inbox().handling() == 0).await;
        rig.until(|| figure(supervisor, "bus_handlers", &[]) == 0).await;
        // Some have come after their callers had gone, and were not begun.
        rig.until(|| figure(supervisor, "bus_slots_taken", &[]) == 0).await;
        served.stop().await;
    });
}

#[test]
fn a_call_that_was_not_awaited_is_none() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        drop(bus.call(echo("")));
        drop(bus.call(echo("")).into_future());
        assert_eq!((tap.inbox().waiting(), tap.transport().cancelled()), (0, 0));
        assert_eq!(Echo::VERSION, 1);
        let mut call = pin!(bus.call(echo("")).into_future());
        // Nobody serves it: that is known at the first poll.
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    });
}

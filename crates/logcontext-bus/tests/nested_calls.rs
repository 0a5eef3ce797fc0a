//! Handlers that call, and wait for their answers.

mod calling;

use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

use calling::{Echo, Gate, Other, Sum, echo, on_both_runtimes};
use logcontext::{current_context, run_in_background};
use logcontext_bus::{Bus, CallError, Rpc};

/// What handlers call by: the bus is there before they are.
type Late = Arc<OnceLock<Bus>>;

fn late(bus: &Bus) -> Late {
    let late = Late::default();
    late.set(bus.clone()).unwrap();
    late
}

/// `Sum(n)` by calling `Sum(n - 1)`.
fn sums(
    bus: &Bus,
) -> impl Fn(Sum) -> std::pin::Pin<Box<dyn Future<Output = Result<u64, String>> + Send>> + use<> {
    let bus = bus.clone();
    move |Sum(n)| {
        let bus = bus.clone();
        Box::pin(async move {
            if n == 0 {
                return Ok(0);
            }
            let rest = bus.call(Sum(n - 1)).await.map_err(|error| error.to_string())?;
            Ok(rest + u64::from(n))
        })
    }
}

#[test]
fn a_handler_may_call_its_own_service_though_it_has_the_only_slot() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Sum>(sums(&bus)).slots(1).start().await.unwrap();
        assert_eq!(bus.call(Sum(10)).await, Ok(55));
        served.stop().await;
    });
}

#[test]
fn a_blocking_handler_may_call_its_own_service_though_it_has_the_only_slot() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let own = late(&bus);
        let handler = move |Sum(n): Sum| {
            if n == 0 {
                return Ok(0);
            }
            let rest = own.get().unwrap().call(Sum(n - 1)).blocking().map_err(|error| error.to_string())?;
            Ok(rest + u64::from(n))
        };
        let served = bus.serve_blocking::<Sum>(handler).slots(1).start().await.unwrap();
        assert_eq!(bus.call(Sum(10)).await, Ok(55));
        served.stop().await;
    });
}

#[test]
fn two_services_may_call_each_other_back_and_forth() {
    on_both_runtimes(|rig| async move {
        let (one, other) = (rig.bus_of("one", |_| {}), rig.bus_of("other", |_| {}));
        let (to_other, to_one) = (one.clone(), other.clone());
        // One calls async, the other blocks.
        let sum = move |Sum(n): Sum| {
            let bus = to_other.clone();
            async move {
                let rest = if n == 0 { Ok(0) } else { bus.call(Other(n - 1)).await };
                rest.map(|rest| rest + u64::from(n)).map_err(|error| error.to_string())
            }
        };
        let back = move |Other(n): Other| {
            let rest = if n == 0 { Ok(0) } else { to_one.call(Sum(n - 1)).blocking() };
            rest.map(|rest| rest + u64::from(n)).map_err(|error| error.to_string())
        };
        let sums = one.serve::<Sum>(sum).slots(1).start().await.unwrap();
        let others = other.serve_blocking::<Other>(back).slots(1).start().await.unwrap();
        let calls = (0..8).map(|_| run_in_background(one.call(Sum(20)).into_future())).collect::<Vec<_>>();
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(210));
        }
        sums.stop().await;
        others.stop().await;
    });
}

#[test]
fn sixty_four_blocking_handlers_in_as_many_slots_may_each_call_a_blocking_handler() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let own = late(&bus);
        let all = Arc::new(Barrier::new(64));
        let outer = move |Sum(n): Sum| {
            // All slots are taken by now.
            all.wait();
            own.get().unwrap().call(Other(n)).blocking().map_err(|error| error.to_string())
        };
        let all = Arc::new(Barrier::new(64));
        let inner = move |Other(n): Other| {
            all.wait();
            Ok(u64::from(n) * 2)
        };
        let sums = bus.serve_blocking::<Sum>(outer).slots(64).start().await.unwrap();
        let others = bus.serve_blocking::<Other>(inner).slots(64).start().await.unwrap();
        let calls: Vec<_> = (0..64).map(|n| run_in_background(bus.call(Sum(n)).into_future())).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(n as u64 * 2));
        }
        sums.stop().await;
        others.stop().await;
    });
}

#[test]
fn a_thousand_calls_from_blocking_handlers_are_all_answered() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let own = late(&bus);
        let outer = move |Sum(n): Sum| {
            own.get().unwrap().call(Other(n)).blocking().map_err(|error| error.to_string())
        };
        let sums = bus.serve_blocking::<Sum>(outer).slots(8).start().await.unwrap();
        let others = bus.serve_blocking::<Other>(|Other(n)| Ok(u64::from(n))).slots(2).start().await.unwrap();
        let call = |n| run_in_background(bus.call(Sum(n)).deadline(Duration::from_secs(60)).into_future());
        let calls: Vec<_> = (0..1000).map(call).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(n as u64));
        }
        sums.stop().await;
        others.stop().await;
    });
}

#[test]
fn a_chain_of_thirty_two_calls_is_answered_and_the_thirty_third_is_refused_at_once() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Sum>(sums(&bus)).start().await.unwrap();
        // The first call is of depth 0.
        assert_eq!(bus.call(Sum(32)).await, Ok((1..=32).sum()));
        let error = bus.call(Sum(33)).await.unwrap_err();
        let expected = "is call 33 of a chain of calls that wait for each other: expected at most 32";
        assert_eq!(error, CallError::Handler(expected.to_owned()));
        served.stop().await;
    });
}

#[test]
fn calls_that_go_round_for_ever_come_to_an_end() {
    on_both_runtimes(|rig| async move {
        let (one, other) = (rig.bus_of("one", |_| {}), rig.bus_of("other", |config| config.max_depth = 255));
        let (to_other, to_one) = (one.clone(), other.clone());
        let sum = move |Sum(n): Sum| {
            let bus = to_other.clone();
            async move { bus.call(Other(n)).await.map_err(|error| error.to_string()) }
        };
        let back = move |Other(n): Other| {
            let bus = to_one.clone();
            async move { bus.call(Sum(n)).await.map_err(|error| error.to_string()) }
        };
        let sums = one.serve::<Sum>(sum).start().await.unwrap();
        let others = other.serve::<Other>(back).start().await.unwrap();
        // Who calls here does not mind; who serves does.
        let error = other.call(Sum(1)).await.unwrap_err();
        let expected = "is call 33 of a chain of calls that wait for each other: expected at most 32";
        assert_eq!(error, CallError::Handler(expected.to_owned()));
        sums.stop().await;
        others.stop().await;
    });
}

#[test]
fn who_serves_refuses_what_is_too_deep_whoever_has_let_it_pass() {
    on_both_runtimes(|rig| async move {
        let deep = rig.bus_of("deep", |config| config.max_depth = 255);
        let shallow = rig.bus_of("shallow", |config| config.max_depth = 2);
        let served = shallow.serve::<Sum>(|Sum(n)| async move { Ok(u64::from(n)) }).start().await.unwrap();
        let context = logcontext::LogContext::builder("GET-18").call_depth(3).start();
        let call = logcontext::FutureExt::in_context(deep.call(Sum(1)).into_future(), context.clone());
        assert_eq!(call.await, Err(CallError::TooDeep { depth: 3, limit: 2 }));
        context.finish();
        served.stop().await;
    });
}

#[test]
fn nested_calls_beyond_the_limit_are_refused_at_once() {
    on_both_runtimes(|rig| async move {
        let (bus, gate) = (rig.bus_of("test", |config| config.max_nested = 3), Gate::new());
        let (nested, waits) = (bus.clone(), gate.clone());
        let outer = move |Sum(n): Sum| {
            let bus = nested.clone();
            async move { bus.call(Other(n)).await.map_err(|error| error.to_string()) }
        };
        let inner = move |Other(n): Other| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(u64::from(n))
            }
        };
        let sums = bus.serve::<Sum>(outer).start().await.unwrap();
        let others = bus.serve::<Other>(inner).slots(1).start().await.unwrap();
        let calls: Vec<_> = (0..3).map(|n| run_in_background(bus.call(Sum(n)).into_future())).collect();
        rig.until(|| gate.waiting() == 3).await;
        let refused = bus.call(Sum(3)).await.unwrap_err();
        let expected = "who serves it has no room: 3 nested calls are handled already";
        assert_eq!(refused, CallError::Handler(expected.to_owned()));
        // Those from elsewhere have their slot all the same.
        let first = run_in_background(bus.call(Other(17)).into_future());
        rig.until(|| gate.waiting() == 4).await;
        gate.open();
        for call in calls {
            assert!(call.await.unwrap().is_ok());
        }
        assert_eq!(first.await.unwrap(), Ok(17));
        assert_eq!(bus.call(Sum(5)).await, Ok(5));
        sums.stop().await;
        others.stop().await;
    });
}

#[test]
fn who_is_behind_a_chain_is_known_at_each_step() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let calls = bus.clone();
        let handler = move |Echo(text): Echo| {
            let (bus, context) = (calls.clone(), current_context());
            tell.send((context.call_depth(), context.started_by().unwrap().to_owned())).unwrap();
            async move {
                if text.is_empty() {
                    return Ok(text);
                }
                // What a handler starts waits for it as well.
                let rest = echo(&text[1..]);
                run_in_background(bus.call(rest).into_future())
                    .await
                    .unwrap()
                    .map_err(|error| error.to_string())
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        assert_eq!(Echo::NAME, served.name());
        assert!(bus.call(echo("xx")).await.is_ok());
        for expected in [(1, "GET-17"), (2, "test.echo-0"), (3, "test.echo-1")] {
            let (depth, starter) = told.recv().await.unwrap();
            assert_eq!((depth, &*starter), expected);
        }
        served.stop().await;
    });
}

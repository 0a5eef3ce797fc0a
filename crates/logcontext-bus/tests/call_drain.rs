//! Services that shut down while calls are under way.

mod calling;

use std::time::Duration;

use calling::{Change, Echo, Gate, Other, Sum, echo, figure, on_both_runtimes, with_stopped_clock};
use logcontext::{Ending, LogContext, Supervisor, background, current_context, run_in_background};
use logcontext_bus::transport::Memory;
use logcontext_bus::{Bus, BusConfig, CallError, Waiting};
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);

/// A handler that waits at the gate and echoes.
fn at(
    gate: &Gate,
) -> impl Fn(Echo) -> std::pin::Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + use<> {
    let gate = gate.clone();
    move |Echo(text)| {
        let gate = gate.clone();
        Box::pin(async move {
            gate.pass().await;
            Ok(text)
        })
    }
}

/// A bus of a service of its own, which can be shut down while the test goes on.
fn other_service(broker: &Memory, change: impl FnOnce(&mut BusConfig)) -> (Supervisor, Bus) {
    let service = Supervisor::new("other");
    let context = LogContext::builder("startup").supervisor(&service).start();
    let mut config = BusConfig::new("other", "memory:");
    change(&mut config);
    let bus = context.scope(|| Bus::over(&config, broker).unwrap());
    context.finish();
    (service, bus)
}

#[test]
fn calls_under_way_are_answered_before_a_shutdown_is_over_and_later_ones_find_nobody() {
    on_both_runtimes(|rig| async move {
        let ((service, bus), gate) = (other_service(&rig.broker, |_| {}), Gate::new());
        let served = bus.serve::<Echo>(at(&gate)).start().await.unwrap();
        let caller = rig.bus();
        let call = run_in_background(caller.call(echo("hello")).into_future());
        rig.until(|| gate.waiting() == 1).await;
        let shutdown = run_in_background(async move { service.shutdown(60 * SECOND).await.aborted.len() });
        // Until it has noticed, calls are taken, and wait at the gate.
        let taken = |result: &Result<_, _>| matches!(result, Err(CallError::Timeout { .. }));
        let late = || caller.call(echo("late")).deadline(Duration::from_millis(10));
        let mut result = late().await;
        while taken(&result) {
            result = late().await;
        }
        assert_eq!(result, Err(CallError::NoServer("test.echo")));
        assert!(!shutdown.is_finished() && !call.is_finished());
        gate.open();
        assert_eq!(call.await.unwrap(), Ok("hello".to_owned()));
        assert_eq!(shutdown.await.unwrap(), 0);
        served.ended().await;
    });
}

#[test]
fn handlers_that_drain_may_still_call_their_own_service_and_others_of_it() {
    on_both_runtimes(|rig| async move {
        let ((service, bus), gate) = (other_service(&rig.broker, |_| {}), Gate::new());
        let (calls, waits) = (bus.clone(), gate.clone());
        let outer = move |Sum(n): Sum| {
            let (bus, gate) = (calls.clone(), waits.clone());
            async move {
                gate.pass().await;
                // By now the service takes nothing from outside.
                bus.call(Other(n)).await.map_err(|error| error.to_string())
            }
        };
        let calls = bus.clone();
        let inner = move |Other(n): Other| {
            let bus = calls.clone();
            async move {
                let rest = if n == 0 { Ok(0) } else { bus.call(Other(n - 1)).await };
                rest.map(|rest| rest + u64::from(n)).map_err(|error| error.to_string())
            }
        };
        let sums = bus.serve::<Sum>(outer).start().await.unwrap();
        let others = bus.serve::<Other>(inner).start().await.unwrap();
        let caller = rig.bus();
        let call = run_in_background(caller.call(Sum(5)).into_future());
        rig.until(|| gate.waiting() == 1).await;
        let ending = service.clone();
        let shutdown = run_in_background(async move { ending.shutdown(60 * SECOND).await.aborted.len() });
        rig.until(|| service.is_shutting_down()).await;
        while caller.call(Other(0)).await != Err(CallError::NoServer("test.other")) {
            tokio::task::yield_now().await;
        }
        gate.open();
        assert_eq!(call.await.unwrap(), Ok(15));
        assert_eq!(shutdown.await.unwrap(), 0);
        sums.ended().await;
        others.ended().await;
    });
}

#[test]
fn a_call_that_was_taken_and_not_begun_is_answered_all_the_same() {
    on_both_runtimes(|rig| async move {
        let ((service, bus), gate) = (other_service(&rig.broker, |_| {}), Gate::new());
        let _served = bus.serve::<Echo>(at(&gate)).slots(1).start().await.unwrap();
        let caller = rig.bus();
        let calls: Vec<_> =
            (0..3).map(|n| run_in_background(caller.call(echo(&n.to_string())).into_future())).collect();
        rig.until(|| gate.waiting() == 1).await;
        rig.until(|| figure(rig.kit.supervisor(), "bus_calls_in_flight", &[]) == 3).await;
        gate.open();
        service.shutdown(60 * SECOND).await;
        // Each of them was handled, or was told that nobody will.
        let mut answered = 0;
        for (n, call) in calls.into_iter().enumerate() {
            match call.await.unwrap() {
                Ok(text) => {
                    assert_eq!(text, n.to_string());
                    answered += 1;
                }
                Err(error) => assert_eq!(error, CallError::NoServer("test.echo")),
            }
        }
        assert!(answered >= 1);
        assert_eq!(gate.passed(), answered);
    });
}

#[test]
fn a_call_that_comes_at_the_very_end_is_answered_all_the_same() {
    on_both_runtimes(|rig| async move {
        for yields in 0..20 {
            let ((service, bus), gate) = (other_service(&rig.broker, |_| {}), Gate::new());
            let served = bus.serve::<Echo>(at(&gate)).start().await.unwrap();
            let caller = rig.bus();
            let calls: Vec<_> =
                (0..3).map(|_| run_in_background(caller.call(echo("")).into_future())).collect();
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            service.shutdown(Duration::ZERO).await;
            for call in calls {
                let answer = call.await.unwrap().unwrap_err();
                assert!(matches!(answer, CallError::Abandoned | CallError::NoServer(_)), "{answer:?}");
            }
            served.ended().await;
        }
    });
}

#[test]
fn what_does_not_end_by_the_deadline_is_answered_as_abandoned() {
    with_stopped_clock(|rig| async move {
        let ((service, bus), gate) = (other_service(&rig.broker, |_| {}), Gate::new());
        let served = bus.serve::<Echo>(at(&gate)).start().await.unwrap();
        let caller = rig.bus();
        let call = |text: &str| caller.call(echo(text)).deadline(60 * SECOND).into_future();
        let calls = [run_in_background(call("a")), run_in_background(call("b"))];
        rig.until(|| gate.waiting() == 2).await;
        let contexts: Vec<_> = service.contexts().into_iter().filter(|it| it.name() != "startup").collect();
        let shutdown = service.shutdown(3 * SECOND).await;
        let aborted: Vec<_> = shutdown.aborted.iter().map(|running| &*running.name).collect();
        assert_eq!(aborted.iter().filter(|name| **name == "test.echo").count(), 2, "{aborted:?}");
        for call in calls {
            assert_eq!(call.await.unwrap(), Err(CallError::Abandoned));
        }
        served.ended().await;
        assert_eq!(gate.waiting(), 0);
        for context in contexts.iter().filter(|context| context.name().starts_with("test.echo-")) {
            assert_eq!(context.ending(), Some(Ending::Cancelled), "{context}");
        }
        // Nobody serves it any more.
        assert_eq!(caller.call(echo("c")).await, Err(CallError::NoServer("test.echo")));
    });
}

#[test]
fn a_blocking_handler_that_does_not_end_by_the_deadline_is_abandoned_and_does_no_late_work() {
    on_both_runtimes(|rig| async move {
        let ((service, bus), gate) = (other_service(&rig.broker, |_| {}), Gate::new());
        let (waits, (tell, mut told)) = (gate.clone(), tokio::sync::mpsc::unbounded_channel());
        let diagnostics = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = diagnostics.clone();
        service.on_diagnostic(move |report| seen.lock().unwrap().push(report.to_string()));
        let handler = move |Echo(text): Echo| {
            waits.pass_blocking();
            tell.send(current_context()).unwrap();
            Ok(text)
        };
        let _served = bus.serve_blocking::<Echo>(handler).start().await.unwrap();
        let caller = rig.bus();
        let call = run_in_background(caller.call(echo("a")).into_future());
        rig.until(|| gate.waiting() == 1).await;
        let shutdown = service.shutdown(Duration::from_millis(10)).await;
        assert!(!shutdown.aborted.is_empty());
        assert_eq!(call.await.unwrap(), Err(CallError::Abandoned));
        gate.open();
        let context = told.recv().await.unwrap();
        assert_eq!(context.ending(), Some(Ending::Cancelled));
        drop(bus);
        assert!(diagnostics.lock().unwrap().is_empty(), "{diagnostics:?}");
    });
}

#[test]
fn who_stops_serving_waits_for_its_handlers_and_leaves_the_rest_to_others() {
    on_both_runtimes(|rig| async move {
        let (one, other, gate) = (rig.bus_of("one", |_| {}), rig.bus_of("other", |_| {}), Gate::new());
        let first = one.serve::<Echo>(at(&gate)).slots(1).start().await.unwrap();
        let caller = rig.bus();
        let call = run_in_background(caller.call(echo("a")).into_future());
        rig.until(|| gate.waiting() == 1).await;
        // This one waits for a slot, or for somebody else.
        let waits = run_in_background(caller.call(echo("b")).into_future());
        rig.until(|| figure(rig.kit.supervisor(), "bus_calls_in_flight", &[("bus", "test")]) == 2).await;
        let second =
            other.serve::<Echo>(|Echo(text)| async move { Ok(text + " by another") }).start().await.unwrap();
        assert_eq!(waits.await.unwrap(), Ok("b by another".to_owned()));
        let stopping = first.clone();
        let stopped = run_in_background(async move { stopping.stop().await });
        for _ in 0..100 {
            let answer = caller.call(echo("c")).await;
            assert_eq!(answer, Ok("c by another".to_owned()));
        }
        assert!(!stopped.is_finished());
        gate.open();
        assert_eq!(call.await.unwrap(), Ok("a".to_owned()));
        stopped.await.unwrap();
        // A second stop waits along.
        first.stop().await;
        second.stop().await;
    });
}

#[test]
fn a_bus_whose_runtime_has_gone_answers_whoever_waits() {
    let kit = logcontext::testing::start();
    let (gone, here) = (kit.multi_thread(1), kit.current_thread());
    let rig_broker = Memory::new();
    let gate = Gate::new();
    let context = LogContext::new("GET-17");
    let bus = context.scope(|| {
        let _entered = gone.enter();
        Bus::over(&BusConfig::new("test", "memory:"), &rig_broker).unwrap()
    });
    let serving = logcontext::FutureExt::in_context(bus.serve::<Echo>(at(&gate)).start(), context.clone());
    here.block_on(serving).unwrap();
    let call = logcontext::FutureExt::in_context(bus.call(echo("a")).into_future(), context.clone());
    let call = {
        let _entered = here.enter();
        context.scope(|| run_in_background(call))
    };
    let begun = async {
        while gate.waiting() == 0 {
            tokio::task::yield_now().await;
        }
    };
    here.block_on(begun);
    drop(gone);
    let answer = here.block_on(call).unwrap();
    assert!(matches!(answer, Err(CallError::Closed | CallError::Abandoned)), "{answer:?}");
    let call = logcontext::FutureExt::in_context(bus.call(echo("a")).into_future(), context.clone());
    assert_eq!(here.block_on(call), Err(CallError::Closed));
    context.finish();
}

#[test]
fn calls_of_a_service_that_shuts_down_still_keep_their_deadlines() {
    with_stopped_clock(|rig| async move {
        let (service, _) = other_service(&rig.broker, |_| {});
        let tap = calling::Tap::new(&rig.broker, Change { loses_calls: true, ..Change::default() });
        let context = LogContext::builder("GET-18").supervisor(&service).start();
        let bus = context.scope(|| Bus::over(&BusConfig::new("test", "memory:"), &tap).unwrap());
        let draining = bus.clone();
        let process = context.scope(|| {
            background::run("drain", async move { draining.call(echo("")).deadline(SECOND).await.is_err() })
        });
        rig.until(|| tap.inbox().waiting() == 1).await;
        assert!(service.shutdown(5 * SECOND).await.aborted.is_empty());
        assert_eq!(process.await, Ok(true));
        let expired = CallError::Timeout { after: SECOND, waiting: Waiting::Answer };
        assert_eq!(bus.call(echo("")).deadline(SECOND).await, Err(expired));
        context.finish();
        assert!(rig.logged(Level::ERROR).is_empty());
    });
}

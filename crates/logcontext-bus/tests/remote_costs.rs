//! What a call has cost comes home to whoever has called.

mod calling;

use std::future::IntoFuture;
use std::time::Duration;

use calling::{Change, Echo, Gate, Other, Rig, Sum, TellsDrop, echo, on_both_runtimes, with_stopped_clock};
use logcontext::{
    ContextKind, FutureExt, LogContext, RemoteUsage, ResourceUsage, current_context, run_in_background,
};
use logcontext_bus::{Bus, CallError};

/// More than anything here burns.
const MUCH: Duration = Duration::from_secs(600);
const MILLI: Duration = Duration::from_millis(1);

/// Costs something of everything, and then does as the text says.
async fn costly(Echo(text): Echo) -> Result<String, String> {
    costs();
    match &*text {
        "error" => Err(text),
        "panic" => panic!("on purpose"),
        _ => Ok(text),
    }
}

fn costs() {
    let context = current_context();
    context.charge_cpu(MUCH);
    context.record_db_transaction(2 * MILLI);
    context.record_db_transaction(3 * MILLI);
    context.record_db_wait(MILLI);
}

/// A context to call from, and what it was charged meanwhile.
async fn charged<F: Future>(future: F) -> (F::Output, ResourceUsage) {
    let caller = LogContext::new("GET-18");
    let output = future.in_context(caller.clone()).await;
    (output, caller.finish())
}

fn assert_costs_of_calls(calls: u32, usage: &ResourceUsage) {
    let remote = usage.remote();
    assert_eq!((remote.calls, remote.unknown), (calls.into(), 0));
    assert_eq!((remote.db_txn_count, remote.db_txn_duration), (u64::from(2 * calls), 5 * MILLI * calls));
    assert_eq!(remote.db_wait(), Some(MILLI * calls));
    if usage.cpu().is_some() {
        let cpu = remote.cpu().unwrap();
        assert!(cpu >= MUCH * calls && cpu < MUCH * calls + Duration::from_secs(60), "{cpu:?}");
    }
    assert_eq!((usage.db_txn_count, usage.db_txn_duration), (0, Duration::ZERO));
    assert!(usage.cpu().is_none_or(|cpu| cpu < MUCH), "{usage:?}");
}

#[test]
fn what_a_handler_costs_its_caller_is_charged_apart_from_its_own() {
    on_both_runtimes(|rig| async move {
        for is_slow in [false, true] {
            let (bus, _tap) = rig.tapped(Change { is_slow, ..Change::default() });
            let served = bus.serve::<Echo>(costly).start().await.unwrap();
            let (answer, usage) = charged(bus.call(echo("hello")).into_future()).await;
            assert_eq!(answer, Ok("hello".to_owned()));
            assert_costs_of_calls(1, &usage);
            served.stop().await;
        }
        // The handlers' own is theirs, and in no other row.
        let totals = rig.kit.supervisor().totals();
        let handlers = totals.iter().find(|row| row.label.as_deref() == Some("test.echo")).unwrap();
        assert_eq!((handlers.usage.db_txn_count, handlers.usage.remote()), (4, RemoteUsage::default()));
        let all: Duration = totals.iter().filter_map(|row| row.usage.cpu()).sum();
        assert!(all < 3 * MUCH, "{all:?}: what is remote was burned twice");
    });
}

#[test]
fn a_blocking_handler_costs_what_its_thread_did() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let handler = |Echo(text): Echo| {
            costs();
            Ok(text)
        };
        let served = bus.serve_blocking::<Echo>(handler).start().await.unwrap();
        let (answer, usage) = charged(bus.call(echo("hello")).into_future()).await;
        assert_eq!(answer, Ok("hello".to_owned()));
        assert_costs_of_calls(1, &usage);
        served.stop().await;
    });
}

#[test]
fn errors_and_panics_cost_as_much() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Echo>(costly).start().await.unwrap();
        let (answer, usage) = charged(bus.call(echo("error")).into_future()).await;
        assert_eq!(answer, Err(CallError::Handler("error".to_owned())));
        assert_costs_of_calls(1, &usage);
        let (answer, usage) = charged(bus.call(echo("panic")).into_future()).await;
        assert_eq!(answer, Err(CallError::Panicked));
        assert_costs_of_calls(1, &usage);
        served.stop().await;
    });
}

/// `Sum(n)` by calling `Sum(n - 1)`.
async fn sum(bus: Bus, n: u32) -> Result<u64, String> {
    costs();
    let rest = async { bus.call(Sum(n - 1)).await.map_err(|error| error.to_string()) };
    let rest = if n == 0 { 0 } else { rest.await? };
    Ok(rest + u64::from(n))
}

#[test]
fn what_a_handler_causes_elsewhere_comes_home_with_its_own() {
    on_both_runtimes(|rig| async move {
        let (one, other) = (rig.bus(), rig.bus_of("other", |_| {}));
        let calls = other.clone();
        let handler = move |Sum(n): Sum| Box::pin(sum(calls.clone(), n));
        let served = one.serve::<Sum>(handler).start().await.unwrap();
        let (answer, usage) = charged(other.call(Sum(3)).into_future()).await;
        assert_eq!(answer, Ok(6));
        assert_costs_of_calls(4, &usage);
        served.stop().await;
    });
}

#[test]
fn a_call_of_a_part_is_charged_to_the_whole() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Echo>(costly).start().await.unwrap();
        let request = rig.kit.supervisor().context("GET-9").kind(ContextKind::Request).label("GET /").start();
        let part = request.nested("part");
        bus.call(echo("hello")).into_future().in_context(part.clone()).await.unwrap();
        assert_costs_of_calls(1, &part.usage());
        assert_costs_of_calls(1, &request.finish());
        let totals = rig.kit.supervisor().totals();
        let row = totals.iter().find(|row| row.label.as_deref() == Some("GET /")).unwrap();
        assert_costs_of_calls(1, &row.usage);
        served.stop().await;
    });
}

#[test]
fn who_has_called_pays_wherever_the_answer_is_read() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Echo>(costly).start().await.unwrap();
        let mut call = Box::pin(bus.call(echo("hello")).into_future());
        let caller = LogContext::new("GET-18");
        let is_pending = async { futures_util::poll!(&mut call).is_pending() };
        if is_pending.in_context(caller.clone()).await {
            call.await.unwrap();
        }
        assert_costs_of_calls(1, &caller.finish());
        assert!(current_context().usage().remote().is_empty());
        served.stop().await;
    });
}

#[test]
fn a_call_without_an_answer_has_a_cost_that_nobody_knows() {
    with_stopped_clock(|rig| async move {
        let (bus, gate) = (rig.bus(), Gate::new());
        let waits = gate.clone();
        let handler = move |_: Echo| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(String::new())
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        let (answer, usage) = charged(bus.call(echo("")).deadline(MILLI).into_future()).await;
        assert!(matches!(answer, Err(CallError::Timeout { .. })), "{answer:?}");
        assert_eq!(usage.remote(), RemoteUsage::unknown());
        served.stop().await;

        let (lost, tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        let call = async {
            let call = run_in_background(lost.call(echo("")).into_future());
            rig.until(|| tap.transport().last_call().is_some()).await;
            tap.inbox().lost(tap.transport().take_last_call().unwrap(), "cut".into());
            call.await.unwrap()
        };
        let (answer, usage) = charged(call).await;
        assert!(matches!(answer, Err(CallError::ConnectionLost(_))), "{answer:?}");
        assert_eq!(usage.remote(), RemoteUsage::unknown());

        let call = async {
            let call = run_in_background(lost.call(echo("")).into_future());
            rig.until(|| tap.inbox().waiting() == 1).await;
            lost.close(MILLI).await;
            call.await.unwrap()
        };
        let (answer, usage) = charged(call).await;
        assert!(matches!(answer, Err(CallError::Closed | CallError::ConnectionLost(_))), "{answer:?}");
        assert_eq!(usage.remote(), RemoteUsage::unknown());
        // It is closed: nothing is sent.
        let (_, usage) = charged(lost.call(echo("")).into_future()).await;
        assert!(usage.remote().is_empty());
    });
}

#[test]
fn a_call_that_its_caller_drops_has_a_cost_that_nobody_knows() {
    on_both_runtimes(|rig| async move {
        for holds_calls in [false, true] {
            let (bus, gate) = (rig.tapped(Change { holds_calls, ..Change::default() }).0, Gate::new());
            let waits = gate.clone();
            let handler = move |_: Echo| {
                let gate = waits.clone();
                async move {
                    gate.pass().await;
                    Ok(String::new())
                }
            };
            let served = bus.serve::<Echo>(handler).start().await.unwrap();
            let dropped = async {
                let mut call = Box::pin(bus.call(echo("")).into_future());
                assert!(futures_util::poll!(&mut call).is_pending());
                // In another context than it was made in.
                async { drop(call) }.in_context(LogContext::new("other")).await;
            };
            let ((), usage) = charged(dropped).await;
            assert_eq!(usage.remote(), RemoteUsage::unknown());
            let never_made = async { drop(bus.call(echo("")).into_future()) };
            assert!(charged(never_made).await.1.remote().is_empty());
            gate.open();
            served.stop().await;
        }
    });
}

#[test]
fn what_nobody_has_handled_has_cost_nothing_elsewhere() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus_of("test", |config| config.max_message = 300);
        let (answer, usage) = charged(bus.call(Other(1)).into_future()).await;
        assert_eq!(answer, Err(CallError::NoServer("test.other")));
        assert!(usage.remote().is_empty());
        let (answer, usage) = charged(bus.call(echo(&"x".repeat(300))).into_future()).await;
        assert!(matches!(answer, Err(CallError::TooLarge { .. })), "{answer:?}");
        assert!(usage.remote().is_empty());
    });
}

#[test]
fn a_bus_may_keep_its_costs_to_itself() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus_of("test", |config| config.costs_in_replies = false);
        let served = bus.serve::<Echo>(costly).start().await.unwrap();
        let (answer, usage) = charged(bus.call(echo("hello")).into_future()).await;
        assert_eq!((answer, usage.remote()), (Ok("hello".to_owned()), RemoteUsage::unknown()));
        served.stop().await;
    });
}

#[test]
fn an_answer_that_only_just_fits_comes_without_its_cost() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus_of("test", |config| config.max_message = 300);
        let handler = |Sum(n): Sum| async move { if n == 0 { Ok(0) } else { Err("x".repeat(n as usize)) } };
        let served = bus.serve::<Sum>(handler).start().await.unwrap();
        // What there is room for beside the head and two quotation marks.
        let room = 300 - r#"{"wire":1,"verdict":"error"}"#.len() as u32 - 2;
        for (n, remote) in [(0, (1, 0)), (10, (1, 0)), (room, (0, 1))] {
            let (answer, usage) = charged(bus.call(Sum(n)).into_future()).await;
            assert!(n == 0 || matches!(answer, Err(CallError::Handler(_))), "{answer:?}");
            let usage = usage.remote();
            assert_eq!((usage.calls, usage.unknown), remote, "{n}");
        }
        served.stop().await;
    });
}

/// What a call is charged if this is the head of its answer.
async fn charged_by(rig: &Rig, head: &str) -> (Result<String, CallError<String>>, RemoteUsage) {
    let (bus, tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
    let call = async {
        let call = run_in_background(bus.call(echo("")).into_future());
        rig.until(|| tap.transport().last_call().is_some()).await;
        let message =
            logcontext_bus::transport::Message { head: head.to_owned().into(), body: r#""a""#.into() };
        tap.inbox().reply(tap.transport().take_last_call().unwrap(), message);
        call.await.unwrap()
    };
    let (answer, usage) = charged(call).await;
    (answer, usage.remote())
}

#[test]
fn what_others_say_of_their_costs_is_taken_with_care() {
    on_both_runtimes(|rig| async move {
        let ok = |cost: &str| format!(r#"{{"wire":1,"verdict":"ok"{cost}}}"#);
        for lie in [
            "",
            r#","cost":{}"#,
            r#","cost":-1"#,
            r#","cost":"much""#,
            r#","cost":{"cpu_ns":-1}"#,
            r#","cost":{"cpu_ns":1e999}"#,
            r#","cost":{"cpu_ns":3600000000001}"#,
            r#","cost":{"cpu_ns":18446744073709551615}"#,
            r#","cost":{"cpu_ns":1,"db_txns":1000001}"#,
            r#","cost":{"cpu_ns":1,"unknown":18446744073709551615}"#,
        ] {
            let charged = charged_by(&rig, &ok(lie)).await;
            assert_eq!(charged, (Ok("a".to_owned()), RemoteUsage::unknown()), "{lie}");
        }
        let hour = RemoteUsage::call().with_cpu(RemoteUsage::MAX_TIME);
        for said in [r#","cost":{"cpu_ns":3600000000000}"#, r#", "cost": {"cpu_ns": 3600000000000}"#] {
            assert_eq!(charged_by(&rig, &ok(said)).await, (Ok("a".to_owned()), hour));
        }
        // It costs what it costs, whatever else is wrong.
        let (answer, remote) =
            charged_by(&rig, r#"{"wire":1,"verdict":"panicked","cost":{"cpu_ns":7}}"#).await;
        assert_eq!((answer, remote.cpu()), (Err(CallError::Panicked), Some(Duration::from_nanos(7))));
        let (answer, remote) = charged_by(&rig, "no JSON").await;
        assert!(matches!(answer, Err(CallError::BadResponse(_))), "{answer:?}");
        assert_eq!(remote, RemoteUsage::unknown());
        // Nobody is told of each.
        assert!(rig.logged(tracing::Level::WARN).is_empty());
    });
}

#[test]
fn a_handler_that_is_ended_says_what_it_has_cost_until_then() {
    with_stopped_clock(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |_: Echo| {
            let held = TellsDrop(tell.clone());
            async move {
                let _held = held;
                costs();
                std::future::pending().await
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        let head = r#"{"wire":1,"rpc":"test.echo","version":1,"depth":0,"timeout_ms":3000,"from":{"sender":"other/1"}}"#;
        tap.send("test.echo", 17, head, r#""""#).await;
        // A caller that does not say when it gives up is told all the same.
        told.recv().await.unwrap();
        rig.until(|| !tap.replies().is_empty()).await;
        let (answer, remote) = charged_by(&rig, &tap.heads()[0]).await;
        assert!(matches!(answer, Err(CallError::Timeout { .. })), "{answer:?}");
        assert_eq!((remote.calls, remote.db_txn_count, remote.db_wait()), (1, 2, Some(MILLI)));
        served.stop().await;
    });
}

#[test]
fn a_handler_that_is_aborted_says_what_it_has_cost_until_then() {
    on_both_runtimes(|rig| async move {
        let (bus, gate) = (rig.bus(), Gate::new());
        let waits = gate.clone();
        let handler = move |_: Echo| {
            let gate = waits.clone();
            async move {
                costs();
                gate.pass().await;
                Ok(String::new())
            }
        };
        let supervisor = rig.kit.supervisor().clone();
        let _served = bus.serve::<Echo>(handler).start().await.unwrap();
        let caller = LogContext::builder("GET-18").supervisor(&logcontext::Supervisor::new("caller")).start();
        let call = bus.call(echo("")).into_future().in_context(caller.clone());
        let shutdown = async {
            rig.until(|| gate.waiting() == 1).await;
            supervisor.shutdown(Duration::ZERO).await
        };
        let (answer, _) = tokio::join!(call, shutdown);
        assert_eq!(answer, Err(CallError::Abandoned));
        assert_costs_of_calls(1, &caller.finish());
    });
}

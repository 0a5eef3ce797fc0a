//! Calls and their answers.

mod calling;

use calling::{Change, Echo, Gate, Other, echo, echoed, figure, on_both_runtimes};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{ContextKind, Ending, FutureExt, LogContext, Request, TraceContext, current_context};
use logcontext_bus::{CallError, Rpc, ServeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

#[test]
fn a_call_is_answered() {
    on_both_runtimes(|rig| async move {
        for is_slow in [false, true] {
            let (bus, _tap) = rig.tapped(Change { is_slow, ..Change::default() });
            let served = bus.serve::<Echo>(echoed).await.unwrap();
            assert_eq!(served.name(), "test.echo");
            assert_eq!(bus.call(echo("hello")).await, Ok("hello".to_owned()));
            served.stop().await;
        }
    });
}

#[test]
fn what_nobody_serves_is_answered_so_at_once() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        assert_eq!(bus.call(echo("hello")).await, Err(CallError::NoServer("test.echo")));
        let served = bus.serve::<Echo>(echoed).start().await.unwrap();
        assert_eq!(bus.call(echo("hello")).await, Ok("hello".to_owned()));
        assert_eq!(bus.call(Other(1)).await, Err(CallError::NoServer("test.other")));
        served.stop().await;
        assert_eq!(bus.call(echo("hello")).await, Err(CallError::NoServer("test.echo")));
    });
}

#[test]
fn a_fast_call_does_not_wait_for_a_slow_one() {
    on_both_runtimes(|rig| async move {
        let (bus, gate) = (rig.bus(), Gate::new());
        let slow = gate.clone();
        let handler = move |Echo(text): Echo| {
            let gate = slow.clone();
            async move {
                if text == "slow" {
                    gate.pass().await;
                }
                Ok(text)
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        let slow = logcontext::run_in_background(bus.call(echo("slow")).into_future());
        rig.until(|| gate.waiting() == 1).await;
        assert_eq!(bus.call(echo("fast")).await, Ok("fast".to_owned()));
        assert!(!slow.is_finished());
        gate.open();
        assert_eq!(slow.await.unwrap(), Ok("slow".to_owned()));
        served.stop().await;
    });
}

#[test]
fn no_more_handlers_run_at_once_than_there_are_slots_and_all_calls_are_answered() {
    on_both_runtimes(|rig| async move {
        let (bus, gate) = (rig.bus(), Gate::new());
        let waits = gate.clone();
        let handler = move |_: Echo| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(String::new())
            }
        };
        let served = bus.serve::<Echo>(handler).slots(3).start().await.unwrap();
        let call = || logcontext::run_in_background(bus.call(echo("")).into_future());
        let calls: Vec<_> = (0..10).map(|_| call()).collect();
        rig.until(|| gate.waiting() == 3).await;
        let supervisor = rig.kit.supervisor();
        rig.until(|| figure(supervisor, "bus_calls_in_flight", &[]) == 10).await;
        let labels = [("bus", "test"), ("rpc", "test.echo")];
        assert_eq!(figure(supervisor, "bus_slots", &labels), 3);
        assert_eq!(figure(supervisor, "bus_slots_taken", &labels), 3);
        assert_eq!(figure(supervisor, "bus_handlers", &labels), 3);
        for _ in 0..10 {
            gate.let_in(1);
        }
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(String::new()));
        }
        assert_eq!(gate.most(), 3);
        rig.until(|| figure(supervisor, "bus_slots_taken", &labels) == 0).await;
        rig.until(|| figure(supervisor, "bus_handlers", &labels) == 0).await;
        served.stop().await;
    });
}

#[test]
fn a_handlers_error_is_the_callers_as_it_is_and_is_logged_once_here() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    enum Refused {
        NoUser { user: String },
    }
    impl std::fmt::Display for Refused {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let Self::NoUser { user } = self;
            write!(f, "there is no {user}")
        }
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Find(String);
    impl Rpc for Find {
        const NAME: &str = "test.find";
        type Response = ();
        type Error = Refused;
    }
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let handler = async |Find(user)| Err(Refused::NoUser { user });
        let served = bus.serve::<Find>(handler).start().await.unwrap();
        let error = bus.call(Find("alice".to_owned())).await.unwrap_err();
        assert_eq!(error, CallError::Handler(Refused::NoUser { user: "alice".to_owned() }));
        assert_eq!(error.to_string(), "there is no alice");
        served.stop().await;
        let records = rig.kit.records_at(Level::ERROR);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(records[0].context.name(), "test.find-0");
        assert_eq!(records[0].field("error"), Some("there is no alice"));
        assert_eq!(records[0].context.ending(), Some(Ending::Failed));
        assert!(rig.logged(Level::WARN).is_empty());
    });
}

#[test]
fn a_handler_runs_in_a_context_of_its_own_that_says_whose_call_it_is() {
    on_both_runtimes(|rig| async move {
        let (one, other) = (rig.bus_of("presence", |_| {}), rig.bus_of("sync", |_| {}));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |Echo(text): Echo| {
            tell.send(current_context()).unwrap();
            async move { Ok(text) }
        };
        let served = one.serve::<Echo>(handler).start().await.unwrap();
        let trace = TraceContext::random();
        let request = Request::new("GET", "/").id("r-17").trace_context(trace.clone());
        let context = LogContext::builder("GET-18").request(request).start();
        let call = other.call(echo("hello")).into_future().in_context(context.clone());
        assert_eq!(call.await, Ok("hello".to_owned()));
        let handled = told.recv().await.unwrap();
        assert_eq!(handled.name(), "test.echo-0");
        assert_eq!(handled.kind(), ContextKind::Background);
        assert_eq!(handled.label(), Some("test.echo"));
        assert_eq!(handled.started_by(), Some("GET-18"));
        assert_eq!(handled.request_id(), Some("r-17"));
        assert_eq!(handled.call_depth(), 1);
        let request = handled.request().unwrap();
        assert_eq!((request.method(), request.path()), ("RPC", "test.echo"));
        assert_eq!(request.client_address(), Some(other.identity()));
        assert_eq!(request.trace(), Some(trace.trace_id()));
        assert_ne!(request.span().unwrap().span_id(), trace.span_id());
        // From nowhere.
        assert!(other.call(echo("")).into_future().in_context(LogContext::sentinel()).await.is_ok());
        assert_eq!(rig.kit.take(DiagnosticKind::CommandFromSentinel).len(), 1);
        let handled = told.recv().await.unwrap();
        assert_eq!((handled.name(), handled.started_by()), ("test.echo-1", Some(other.identity())));
        assert_eq!(handled.call_depth(), 1);
        served.stop().await;
        context.finish();
        assert_eq!(handled.ending(), Some(Ending::Ok));
        let totals = rig.kit.supervisor().totals();
        assert!(totals.iter().any(|total| total.label.as_deref() == Some("test.echo")));
    });
}

#[test]
fn a_handler_can_be_told_who_has_called() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus
            .serve_with_caller::<Echo>(|_, caller| async move {
                assert!(!caller.is_cancelled() && caller.remaining() > std::time::Duration::from_secs(1));
                Ok(format!("{} {}", caller.sender(), caller.context_name()))
            })
            .start()
            .await
            .unwrap();
        assert_eq!(bus.call(echo("")).await, Ok(format!("{} GET-17", bus.identity())));
        served.stop().await;
        let served = bus
            .serve_blocking_with_caller::<Echo>(|_, caller| Ok(caller.context_name().to_owned()))
            .start()
            .await
            .unwrap();
        assert_eq!(bus.call(echo("")).await, Ok("GET-17".to_owned()));
        served.stop().await;
    });
}

#[test]
fn a_service_goes_on_when_the_handle_is_dropped() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        drop(bus.serve::<Echo>(echoed).start().await.unwrap());
        assert!(bus.call(echo("hello")).await.is_ok());
        let shutdown = rig.kit.supervisor().shutdown(std::time::Duration::from_secs(5)).await;
        assert!(shutdown.aborted.is_empty());
    });
}

#[test]
fn what_cannot_be_served_says_why() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Nameless;
    impl Rpc for Nameless {
        const NAME: &str = "no name";
        type Response = ();
        type Error = String;
    }
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let nameless = bus.serve::<Nameless>(async |_| Ok(())).start().await.unwrap_err();
        assert!(matches!(nameless, ServeError::Name(_)));
        assert!(matches!(bus.call(Nameless).await, Err(CallError::Name(_))));
        let none = bus.serve::<Echo>(echoed).slots(0).start().await.unwrap_err();
        assert_eq!(none.to_string(), "slots is 0: expected at least 1");
        let served = bus.serve::<Echo>(echoed).start().await.unwrap();
        let again = bus.serve::<Echo>(echoed).start().await.unwrap_err();
        assert_eq!(again, ServeError::Taken("test.echo"));
        served.stop().await;
        let served = bus.serve::<Echo>(echoed).start().await.unwrap();
        rig.kit.supervisor().shutdown(std::time::Duration::from_secs(5)).await;
        served.ended().await;
        let late = bus.serve::<Echo>(echoed).start().await.unwrap_err();
        assert_eq!(late, ServeError::ShuttingDown);
    });
}

#[test]
fn each_end_is_counted_on_both_sides() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let handler = async |Echo(text): Echo| if text.is_empty() { Err(text) } else { Ok(text) };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        for text in ["a", "", "b", "c"] {
            let _ = bus.call(echo(text)).await;
        }
        let _ = bus.call(Other(1)).await;
        let supervisor = rig.kit.supervisor();
        // An answer is counted once it has been heard.
        rig.until(|| figure(supervisor, "bus_served", &[]) == 4).await;
        let (echo, other) = (("rpc", "test.echo"), ("rpc", "test.other"));
        assert_eq!(figure(supervisor, "bus_calls", &[echo, ("ending", "ok")]), 3);
        assert_eq!(figure(supervisor, "bus_calls", &[echo, ("ending", "error")]), 1);
        assert_eq!(figure(supervisor, "bus_calls", &[other, ("ending", "no_server")]), 1);
        assert_eq!(figure(supervisor, "bus_calls", &[]), 5);
        assert_eq!(figure(supervisor, "bus_calls_in_flight", &[]), 0);
        assert_eq!(figure(supervisor, "bus_call_seconds", &[("bus", "test")]), 5);
        assert_eq!(figure(supervisor, "bus_served", &[echo, ("became", "ok")]), 3);
        assert_eq!(figure(supervisor, "bus_served", &[echo, ("became", "error")]), 1);
        assert_eq!(figure(supervisor, "bus_serve_seconds", &[]), 4);
        served.stop().await;
    });
}

#[test]
fn a_closed_bus_answers_so() {
    on_both_runtimes(|rig| async move {
        let (bus, gate) = (rig.bus(), Gate::new());
        let waits = gate.clone();
        let handler = move |Echo(text): Echo| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(text)
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        let waits = logcontext::run_in_background(bus.call(echo("")).into_future());
        rig.until(|| gate.waiting() == 1).await;
        bus.close(std::time::Duration::from_secs(1)).await;
        let lost = waits.await.unwrap().unwrap_err();
        assert!(matches!(lost, CallError::Closed | CallError::ConnectionLost(_)), "{lost:?}");
        assert_eq!(bus.call(echo("")).await, Err(CallError::Closed));
        assert_eq!(bus.serve::<Other>(async |_| Ok(1)).await.unwrap_err(), ServeError::Closed);
        gate.open();
        served.ended().await;
    });
}

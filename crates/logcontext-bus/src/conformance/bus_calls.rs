//! Calls as users write them: on a bus, with handlers.

use std::sync::Arc;
use std::time::Duration;

use logcontext::{FutureExt, LogContext, current_context, run_in_background};
use tokio::sync::{Semaphore, mpsc};

use super::Case;
use super::case::soon;
use super::service::{Ask, AskBack, No, Service};
use crate::{Bus, CallError, Caller, Waiting};

type Answer = Result<u64, No>;

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` has it")]
fn no(because: impl ToString) -> No {
    No { because: because.to_string() }
}

impl Service {
    async fn ask(&self, n: u64) -> Result<u64, CallError<No>> {
        soon("an answer", self.bus.call(Ask(n)).into_future()).await
    }
}

/// By another service or its own, in a context that knows who asks; errors are the handler's own.
pub async fn a_call_is_answered_with_an_answer_or_an_error_of_its_own(case: Case) {
    let (caller, server) = (case.service("caller"), case.service("server"));
    let handler = async |Ask(n), caller: Caller| {
        let context = current_context();
        assert!(context.name().starts_with("conformance.ask-"), "{context}");
        assert_eq!(context.started_by(), Some("GET-17"));
        assert_eq!(caller.context_name(), "GET-17");
        if n < 10 { Ok(n * 2) } else { Err(no(n)) }
    };
    let handler = move |ask: Ask, caller: Caller| handler(ask, caller);
    server.bus.serve_with_caller::<Ask>(handler).start().await.expect("it serves");
    let asks = async {
        for service in [&caller, &server] {
            assert_eq!(service.ask(4).await, Ok(8));
            assert_eq!(service.ask(40).await, Err(CallError::Handler(no(40))));
        }
    };
    asks.in_context(LogContext::new("GET-17")).await;
    caller.end().await;
    server.end().await;
}

/// That nobody serves it, that its handler panicked, and that there was no more time: each is said as such.
pub async fn what_has_gone_wrong_is_said_as_such(case: Case) {
    let (caller, server) = (case.service("caller"), case.service("server"));
    assert_eq!(caller.ask(1).await, Err(CallError::NoServer("conformance.ask")));
    let (began, mut begun) = mpsc::unbounded_channel();
    let handler = move |Ask(n)| {
        let began = began.clone();
        async move {
            assert_ne!(n, 1, "of all numbers");
            // Its end is told by the drop.
            let _ = began.send(());
            let _began = began;
            std::future::pending::<Answer>().await
        }
    };
    let served = server.bus.serve::<Ask>(handler).start().await.expect("it serves");
    assert_eq!(caller.ask(1).await, Err(CallError::Panicked));
    let deadline = Duration::from_millis(300);
    let timeout = soon("it is given up", caller.bus.call(Ask(2)).deadline(deadline).into_future()).await;
    assert_eq!(timeout, Err(CallError::Timeout { after: deadline, waiting: Waiting::Answer }));
    soon("the handler runs", begun.recv()).await.expect("the handler runs");
    // Past its deadline it does not go on, so the server can end.
    soon("serving ends", served.stop()).await;
    assert_eq!(caller.ask(1).await, Err(CallError::NoServer("conformance.ask")));
    caller.end().await;
    server.end().await;
}

/// Whoever gives up is no burden to who handles its call.
pub async fn a_caller_that_gives_up_ends_the_handler(case: Case) {
    let (caller, server) = (case.service("caller"), case.service("server"));
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let (began, mut begun) = mpsc::unbounded_channel();
    let alive = std::sync::Mutex::new(Some(alive));
    let handler = move |Ask(_)| {
        let alive = alive.lock().expect("one call").take();
        let _ = began.send(());
        async move {
            let _alive = alive;
            std::future::pending::<Answer>().await
        }
    };
    server.bus.serve::<Ask>(handler).slots(1).start().await.expect("it serves");
    let call = caller.bus.call(Ask(1)).into_future();
    tokio::select! {
        answer = call => unreachable!("{answer:?}"),
        _ = soon("the handler runs", begun.recv()) => {}
    }
    assert_eq!(soon("the handler is dropped", ended.recv()).await, None);
    caller.end().await;
    server.end().await;
}

/// A service with one slot asks itself, over and over.
pub async fn a_handler_may_call_its_own_service(case: Case) {
    let service = case.service("server");
    let bus = service.bus.clone();
    let handler = move |Ask(n)| {
        let bus = bus.clone();
        async move {
            if n == 0 {
                return Ok(0);
            }
            bus.call(Ask(n - 1)).await.map(|sum| sum + n).map_err(no)
        }
    };
    service.bus.serve::<Ask>(handler).slots(1).start().await.expect("it serves");
    assert_eq!(service.ask(20).await, Ok(210));
    service.end().await;
}

/// Two services with one slot each ask each other, for many callers at once; deeper than is allowed, they are refused.
pub async fn two_services_may_call_each_other(case: Case) {
    let (a, b) = (case.service("a"), case.service("b"));
    let to_b = a.bus.clone();
    let ask = move |Ask(n)| {
        let bus = to_b.clone();
        async move { if n == 0 { Ok(0) } else { bus.call(AskBack(n - 1)).await.map(|n| n + 1).map_err(no) } }
    };
    let to_a = b.bus.clone();
    let ask_back = move |AskBack(n)| {
        let bus = to_a.clone();
        async move { if n == 0 { Ok(0) } else { bus.call(Ask(n - 1)).await.map(|n| n + 1).map_err(no) } }
    };
    a.bus.serve::<Ask>(ask).slots(1).start().await.expect("it serves");
    b.bus.serve::<AskBack>(ask_back).slots(1).start().await.expect("it serves");
    let callers = (0..20).map(|_| {
        let bus: Bus = b.bus.clone();
        run_in_background(async move { assert_eq!(bus.call(Ask(9)).await, Ok(9)) })
    });
    for caller in callers.collect::<Vec<_>>() {
        soon("all are answered", caller).await.expect("it is answered");
    }
    let Err(CallError::Handler(refused)) = a.ask(50).await else { panic!("it is too deep") };
    assert!(refused.because.contains("expected at most 32"), "{refused}");
    a.end().await;
    b.end().await;
}

/// As many blocking handlers as there are slots all wait for another one of the same kind.
pub async fn blocking_handlers_may_wait_for_each_other(case: Case) {
    let service = case.service("server");
    let bus = service.bus.clone();
    let handler = move |Ask(n)| match n {
        0 => Ok(0),
        n => bus.call(Ask(n - 1)).blocking().map(|sum| sum + n).map_err(no),
    };
    service.bus.serve_blocking::<Ask>(handler).slots(8).start().await.expect("it serves");
    let callers = (0..8).map(|_| {
        let bus = service.bus.clone();
        run_in_background(async move { assert_eq!(bus.call(Ask(3)).await, Ok(6)) })
    });
    for caller in callers.collect::<Vec<_>>() {
        soon("all are answered", caller).await.expect("it is answered");
    }
    service.end().await;
}

/// Calls beyond the slots wait, and all are answered; never more handlers run than there are slots.
pub async fn no_more_handlers_run_than_there_are_slots(case: Case) {
    let (caller, server) = (case.service("caller"), case.service("server"));
    let free = Arc::new(Semaphore::new(3));
    let handler = move |Ask(n)| {
        let running = Arc::clone(&free).try_acquire_owned();
        async move {
            let _running = running.map_err(|_| no("one too many"))?;
            tokio::task::yield_now().await;
            Ok(n)
        }
    };
    server.bus.serve::<Ask>(handler).slots(3).start().await.expect("it serves");
    let callers = (0..60).map(|n| {
        let bus = caller.bus.clone();
        run_in_background(async move { assert_eq!(bus.call(Ask(n)).await, Ok(n)) })
    });
    for caller in callers.collect::<Vec<_>>() {
        soon("all are answered", caller).await.expect("it is answered");
    }
    caller.end().await;
    server.end().await;
}

/// A service that shuts down answers what it has begun; others take the rest.
pub async fn a_service_that_shuts_down_answers_what_it_has_begun(case: Case) {
    let (caller, one, other) = (case.service("caller"), case.service("server"), case.service("server"));
    let (began, mut begun) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let handler = move |Ask(n)| {
        let (began, gate) = (began.clone(), Arc::clone(&held));
        async move {
            let _ = began.send(());
            drop(gate.acquire_owned().await);
            Ok::<_, No>(n)
        }
    };
    one.bus.serve::<Ask>(handler).start().await.expect("it serves");
    let bus = caller.bus.clone();
    let call = run_in_background(async move { assert_eq!(bus.call(Ask(1)).await, Ok(1)) });
    soon("the handler runs", begun.recv()).await.expect("the handler runs");
    other.bus.serve::<Ask>(async |Ask(n)| Ok::<_, No>(n)).start().await.expect("it serves");
    let end = one.end();
    let rest = async {
        // By and by the one takes no more.
        for n in 2..20 {
            gate.add_permits(1);
            assert_eq!(caller.ask(n).await, Ok(n));
        }
    };
    tokio::join!(end, rest);
    soon("it is answered", call).await.expect("it is answered");
    caller.end().await;
    other.end().await;
}

/// Whoever has called is charged what the handler has cost and caused in turn, apart from its own.
pub async fn what_a_call_has_cost_comes_home(case: Case) {
    let (caller, server) = (case.service("caller"), case.service("server"));
    let back = server.bus.clone();
    let ask = move |Ask(n)| {
        let back = back.clone();
        async move {
            current_context().record_db_transaction(Duration::from_nanos(3));
            back.call(AskBack(n)).await.map_err(no)
        }
    };
    let ask_back = async |AskBack(n)| {
        current_context().record_db_transaction(Duration::from_nanos(4));
        Ok::<u64, No>(n)
    };
    server.bus.serve::<Ask>(ask).start().await.expect("it serves");
    server.bus.serve::<AskBack>(ask_back).start().await.expect("it serves");
    let context = LogContext::new("GET-17");
    assert_eq!(caller.ask(4).in_context(context.clone()).await, Ok(4));
    let usage = context.finish();
    let remote = usage.remote();
    assert_eq!((remote.calls, remote.unknown, remote.db_txn_count), (2, 0, 2));
    assert_eq!((remote.db_txn_duration, usage.db_txn_count), (Duration::from_nanos(7), 0));
    caller.end().await;
    server.end().await;
}

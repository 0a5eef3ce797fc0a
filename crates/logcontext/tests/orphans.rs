//! The manual's note on garbage collection: work that both its ends have forgotten leaks no context.
#![cfg(feature = "tokio")]
#![expect(clippy::disallowed_methods, reason = "what other libraries spawn is given its context here")]
mod common;

use std::future::pending;
use std::sync::{Arc, Mutex};

use common::{BURST, Seen, assert_bursts, burn, here, on_both, run};
use logcontext::{FutureExt, LogContext, current_context};
use tokio::sync::{broadcast, oneshot};

/// Another request, which burns a little: in its own context and at its own cost, whatever was left behind.
fn next_request(runtime: &tokio::runtime::Runtime, handling: impl Future<Output = ()> + Send + 'static) {
    let request = LogContext::new("GET-1");
    run(runtime, async {
        assert!(current_context().is_sentinel());
    });
    let body = async {
        handling.await;
        burn(BURST);
        assert_eq!(here(), "GET-1");
    };
    run(runtime, body.in_context(request.clone()));
    assert_bursts(&request, 1);
}

#[test]
fn both_ends_of_a_channel_dropped_leak_no_context() {
    on_both(|runtime, _| {
        let (waiting, dropped) = (LogContext::new("waiting"), Seen::default());
        let listeners: Arc<Mutex<Vec<oneshot::Sender<&'static str>>>> = Arc::default();
        let (queue, held) = (Arc::clone(&listeners), dropped.on_drop());
        let (tell, listening) = oneshot::channel();
        let await_something_interesting = async move {
            let _held = held;
            let (sender, interesting) = oneshot::channel();
            queue.lock().unwrap().push(sender);
            tell.send(()).unwrap();
            interesting.await.is_ok()
        };
        let task = runtime.spawn(await_something_interesting.in_context(waiting.clone()));
        runtime.block_on(listening).unwrap();
        next_request(runtime, async move {
            // Whatever waited for it goes away, and the listeners are forgotten.
            task.abort();
            assert_eq!(here(), "GET-1");
            listeners.lock().unwrap().clear();
            assert_eq!(here(), "GET-1");
            assert!(task.await.is_err());
        });
        assert_eq!(dropped.all(), ["waiting"]);
        assert_bursts(&waiting, 1);
    });
}

#[test]
fn the_other_end_dropped_first_wakes_the_waiter_in_its_own_context() {
    on_both(|runtime, _| {
        let (sender, mut interesting) = broadcast::channel::<()>(1);
        let waiter = async move {
            assert!(interesting.recv().await.is_err());
            here()
        };
        let waiter = runtime.spawn(waiter.in_context(LogContext::new("waiting")));
        next_request(runtime, async move {
            drop(sender);
            assert_eq!(here(), "GET-1");
        });
        assert_eq!(runtime.block_on(waiter).unwrap(), "waiting");
    });
}

#[test]
fn a_future_that_nobody_wakes_is_dropped_in_its_own_context_in_the_end() {
    let test = logcontext::testing::start();
    for workers in [0, 2] {
        let runtime = if workers == 0 { test.current_thread() } else { test.multi_thread(workers) };
        let (waiting, dropped) = (LogContext::new("waiting"), Seen::default());
        let held = dropped.on_drop();
        let (tell, told) = oneshot::channel();
        let orphan = async move {
            let _held = held;
            tell.send(()).unwrap();
            pending::<()>().await;
        };
        drop(runtime.spawn(orphan.in_context(waiting.clone())));
        runtime.block_on(told).unwrap();
        next_request(&runtime, async {});
        drop(runtime);
        assert_eq!(dropped.all(), ["waiting"]);
        assert_bursts(&waiting, 1);
        assert!(current_context().is_sentinel());
    }
}

//! The pitfalls of Synapse's log-context manual, one by one: what goes wrong there cannot here, or says so.
#![cfg(feature = "tokio")]
#![expect(clippy::disallowed_methods, reason = "the pitfalls are raw spawns and foreign futures")]
mod common;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{BURST, Seen, assert_bursts, burn, here, on_both, run};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{
    FutureExt, LogContext, background, current_context, preserve_once, run_in_background, set_current_context,
};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, yield_now};

/// Handles a request: in its context, and the executor is in the sentinel before and after.
fn handle_request<F>(runtime: &Runtime, handling: F) -> LogContext
where
    F: Future<Output = ()> + Send + 'static,
{
    let request = LogContext::new("GET-1");
    run(runtime, async {
        assert!(current_context().is_sentinel());
        let handling = async {
            handling.await;
            assert_eq!(here(), "GET-1", "`finished` is logged against the request");
        };
        handling.in_context(request.clone()).await;
        assert!(current_context().is_sentinel(), "and what the executor does next against nobody");
        request
    })
}

#[test]
fn without_futures_things_are_left_as_they_were_found() {
    fn do_request_handling(seen: &Seen) {
        seen.note();
    }
    let _test = logcontext::testing::start();
    let (seen, request) = (Seen::default(), LogContext::new("GET-1"));
    // By hand, and as it is meant to be written.
    let calling_context = set_current_context(request.clone());
    do_request_handling(&seen);
    set_current_context(calling_context);
    request.scope(|| do_request_handling(&seen));
    assert_eq!(seen.all(), ["GET-1", "GET-1"]);
}

#[test]
fn two_requests_that_wait_for_each_other_never_see_each_others_context() {
    on_both(|runtime, _| {
        let (ping, mut pinged) = mpsc::channel::<()>(1);
        let (pong, mut ponged) = mpsc::channel::<()>(1);
        let one = async move {
            for _ in 0..100 {
                ping.send(()).await.unwrap();
                assert_eq!(here(), "one");
                ponged.recv().await.unwrap();
                assert_eq!(here(), "one");
            }
        };
        let other = async move {
            for _ in 0..100 {
                pinged.recv().await.unwrap();
                assert_eq!(here(), "other");
                pong.send(()).await.unwrap();
                assert_eq!(here(), "other");
            }
        };
        let one = runtime.spawn(one.in_context(LogContext::new("one")));
        let other = runtime.spawn(other.in_context(LogContext::new("other")));
        runtime.block_on(async { tokio::try_join!(one, other) }).unwrap();
    });
}

#[test]
fn a_future_that_is_never_awaited_changes_nothing() {
    on_both(|runtime, _| {
        handle_request(runtime, async {
            let never_awaited = async { unreachable!() }.in_context(LogContext::new("forgotten"));
            assert_eq!(here(), "GET-1");
            drop::<Pin<Box<dyn Future<Output = ()> + Send>>>(Box::pin(never_awaited));
            assert_eq!(here(), "GET-1");
        });
    });
}

/// A future of somebody else's: another thread completes it, in whatever context that thread is in.
#[derive(Default)]
struct Foreign {
    state: Arc<Mutex<(bool, Option<Waker>)>>,
}

impl Foreign {
    /// As a reactor would, much later.
    fn complete(&self) -> impl FnOnce() + Send + 'static {
        let state = Arc::clone(&self.state);
        move || {
            LogContext::new("reactor").scope(|| {
                let mut state = state.lock().unwrap();
                state.0 = true;
                if let Some(waker) = state.1.take() {
                    waker.wake();
                }
                assert_eq!(here(), "reactor", "waking runs nobody's code here");
            });
        }
    }
}

impl Future for Foreign {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        state.1 = Some(cx.waker().clone());
        if state.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[test]
fn a_foreign_future_or_a_sleep_comes_back_in_the_right_context() {
    on_both(|runtime, test| {
        let start = test.thread_start();
        let request = handle_request(runtime, async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(here(), "GET-1");
            let foreign = Foreign::default();
            let complete = foreign.complete();
            let reactor = std::thread::spawn(move || {
                start();
                complete();
            });
            foreign.await;
            assert_eq!(here(), "GET-1");
            burn(BURST);
            reactor.join().unwrap();
        });
        assert_bursts(&request, 1);
    });
}

#[test]
fn a_foreign_callback_comes_back_in_the_right_context() {
    on_both(|runtime, test| {
        let start = test.thread_start();
        handle_request(runtime, async move {
            let (tell, told) = oneshot::channel();
            let callback = preserve_once(move |answer: u32| tell.send((here(), answer)).unwrap());
            let driver = std::thread::spawn(move || {
                start();
                LogContext::new("driver").scope(|| callback(42));
            });
            assert_eq!(told.await.unwrap(), ("GET-1".to_owned(), 42));
            assert_eq!(here(), "GET-1");
            driver.join().unwrap();
        });
    });
}

#[test]
fn fire_and_forget_in_the_callers_context() {
    on_both(|runtime, _| {
        let (done, is_done) = oneshot::channel();
        let (go_on, wait) = oneshot::channel::<()>();
        let request = handle_request(runtime, async move {
            yield_now().await;
            run_in_background(async move {
                wait.await.unwrap();
                burn(BURST);
                done.send(here()).unwrap();
            });
            assert_eq!(here(), "GET-1", "`Request handling complete` has its context");
        });
        request.finish();
        go_on.send(()).unwrap();
        assert_eq!(runtime.block_on(is_done).unwrap(), "GET-1");
        // The handle was dropped: wait for its last slice.
        while !request.supervisor().running().is_empty() {
            runtime.block_on(yield_now());
        }
        assert_bursts(&request, 1);
    });
}

#[test]
fn fire_and_forget_outside_of_the_callers_context() {
    on_both(|runtime, _| {
        let request = handle_request(runtime, async {
            let process = background::run("background_operation", async {
                burn(BURST);
                here()
            });
            assert_eq!(here(), "GET-1");
            assert_eq!(process.await.as_deref(), Ok("background_operation-0"));

            // In no context at all, and saying so.
            let outside = async {
                burn(BURST);
                here()
            };
            let outside = tokio::spawn(outside.in_context(LogContext::sentinel()));
            assert_eq!(here(), "GET-1");
            assert_eq!(outside.await.unwrap(), "sentinel");
        });
        assert_bursts(&request, 0);
    });
}

#[test]
fn a_raw_spawn_leaks_nothing_but_runs_in_the_sentinel() {
    on_both(|runtime, _| {
        let request = handle_request(runtime, async {
            let spawned = tokio::spawn(async {
                burn(BURST);
                here()
            });
            assert_eq!(here(), "GET-1");
            assert_eq!(spawned.await.unwrap(), "sentinel");
        });
        assert_bursts(&request, 0);
    });
}

#[test]
#[expect(clippy::await_holding_invalid_type, reason = "the pitfall")]
fn a_guard_held_across_an_await_is_undone_before_it_reaches_anybody_and_reported_with_its_line() {
    on_both(|runtime, test| {
        let line = Rc::new(RefCell::new(0));
        let (request, held) = (LogContext::new("GET-1"), LogContext::new("held"));
        let (noted, kept) = (Rc::clone(&line), held.clone());
        // Send futures cannot hold one: it takes a local task, and this lint set aside.
        let local = LocalSet::new();
        let faulty = async move {
            *noted.borrow_mut() = line!() + 1;
            let guard = kept.enter();
            burn(BURST);
            yield_now().await;
            assert_eq!(here(), "GET-1", "its own again, not the guard's");
            burn(2 * BURST);
            drop(guard);
            assert_eq!(here(), "GET-1");
            yield_now().await;
            assert_eq!(here(), "GET-1");
        };
        let seen = Seen::default();
        let neighbour_saw = seen.clone();
        local.block_on(runtime, async move {
            let faulty = tokio::task::spawn_local(faulty.in_context(request.clone()));
            let neighbour = tokio::task::spawn_local(async move {
                for _ in 0..3 {
                    neighbour_saw.note();
                    yield_now().await;
                }
            });
            faulty.await.unwrap();
            neighbour.await.unwrap();
            assert_bursts(&request, 2);
        });
        assert_eq!(seen.all(), ["sentinel"; 3]);
        assert_bursts(&held, 1);
        let reports = test.take(DiagnosticKind::GuardAcrossAwait);
        assert_eq!(reports.len(), 1);
        assert_eq!((reports[0].context.name(), reports[0].found.as_ref()), ("GET-1", Some(&held)));
        assert_eq!(reports[0].origin.unwrap().line(), *line.borrow());
    });
}

#[test]
fn nested_contexts_go_back_to_their_parents_and_cost_them() {
    on_both(|runtime, _| {
        let request = handle_request(runtime, async {
            let lookup = current_context().nested("lookup");
            let looking_up = async {
                burn(BURST);
                yield_now().await;
                here()
            };
            assert_eq!(looking_up.in_context(lookup.clone()).await, "GET-1-lookup");
            assert_eq!(here(), "GET-1");
            assert_eq!(lookup.finish().db_txn_count, 0);
            assert_bursts(&lookup, 1);
        });
        assert_bursts(&request, 1);
    });
}

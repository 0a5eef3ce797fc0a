//! Futures: in their context at each poll and at their drop, which leave what they found.
mod common;

use std::future::pending;
use std::pin::{Pin, pin};
use std::task::Poll;

use common::{
    BURST, OnDrop, Seen, assert_bursts, assert_bursts_and_a_panic, burn, here, once_pending, panic_message,
    poll_once,
};
use futures_util::FutureExt as _;
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext, current_context, set_current_context, testing};

#[test]
fn a_future_is_in_its_context_at_each_poll_and_leaves_what_it_found() {
    let _test = testing::start();
    let (request, executor, seen) = (LogContext::new("GET-1"), LogContext::new("executor"), Seen::default());
    let mut future = pin!(
        async {
            seen.note();
            burn(BURST);
            once_pending().await;
            seen.note();
            burn(BURST);
        }
        .in_context(request.clone())
    );
    executor.scope(|| {
        assert!(poll_once(future.as_mut()).is_pending());
        assert_eq!(here(), "executor");
    });
    assert!(current_context().is_sentinel());
    burn(BURST);
    assert!(poll_once(future.as_mut()).is_ready());
    assert!(current_context().is_sentinel());
    assert_eq!(seen.all(), ["GET-1", "GET-1"]);
    assert_bursts(&request, 2);
    assert_bursts(&executor, 0);
}

#[test]
fn a_future_polled_on_several_threads_takes_its_context_along() {
    let test = testing::start();
    let request = LogContext::new("GET-1");
    let mut future = Box::pin(
        async {
            for _ in 0..3 {
                assert_eq!(here(), "GET-1");
                burn(BURST);
                once_pending().await;
            }
        }
        .in_context(request.clone()),
    );
    for _ in 0..4 {
        std::thread::scope(|threads| {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            threads.spawn(|| {
                test.thread_start()();
                let _ = poll_once(future.as_mut());
                assert!(current_context().is_sentinel());
            });
        });
    }
    assert_bursts(&request, 3);
}

#[test]
fn the_current_context_is_the_one_where_the_future_was_made() {
    let _test = testing::start();
    let future = LogContext::new("maker").scope(|| async { here() }.in_current_context());
    assert_eq!(future.context().name(), "maker");
    assert_eq!(LogContext::new("poller").scope(|| future.now_or_never().unwrap()), "maker");
}

#[test]
fn a_future_in_the_sentinel_is_outside_of_its_callers_context() {
    let _test = testing::start();
    let request = LogContext::new("GET-1");
    let outside = async {
        assert!(current_context().is_sentinel());
        burn(BURST);
    };
    async {
        outside.in_context(LogContext::sentinel()).await;
        assert_eq!(here(), "GET-1");
    }
    .in_context(request.clone())
    .now_or_never()
    .unwrap();
    assert_bursts(&request, 0);
}

#[test]
fn futures_inside_each_other_are_each_in_their_own_context() {
    let _test = testing::start();
    let (outer, inner) = (LogContext::new("outer"), LogContext::new("inner"));
    let mut future = pin!(
        async {
            async {
                assert_eq!(here(), "inner");
                burn(BURST);
                once_pending().await;
                assert_eq!(here(), "inner");
            }
            .in_context(inner.clone())
            .await;
            assert_eq!(here(), "outer");
            // Its own once more, inside itself.
            async { once_pending().await }.in_context(outer.clone()).await;
            assert_eq!(here(), "outer");
        }
        .in_context(outer.clone())
    );
    while poll_once(future.as_mut()).is_pending() {
        assert!(current_context().is_sentinel());
    }
    assert_bursts(&outer, 0);
    assert_bursts(&inner, 1);
}

#[test]
fn a_poll_that_panics_leaves_what_it_found_and_what_is_left_drops_in_context() {
    let _test = testing::start();
    let (request, seen) = (LogContext::new("GET-1"), Seen::default());
    let on_drop = seen.on_drop();
    let mut future = Box::pin(
        async move {
            let _unwound = on_drop;
            once_pending().await;
            panic!("oh no");
        }
        .in_context(request.clone()),
    );
    LogContext::new("executor").scope(|| {
        let _ = poll_once(future.as_mut());
        let message = panic_message(|| {
            let _ = poll_once(future.as_mut());
        });
        assert_eq!((message.as_str(), here().as_str()), ("oh no", "executor"));
        drop(future);
        assert_eq!(here(), "executor");
    });
    assert_eq!(seen.all(), ["GET-1"]);
    assert_bursts_and_a_panic(&request, 1);
}

/// Holds something beside its state, and panics when polled.
struct Panics<T>(T);

impl<T: Unpin> Future for Panics<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        panic!("oh no");
    }
}

#[test]
fn what_a_panic_left_in_the_future_drops_in_its_context() {
    let _test = testing::start();
    let (request, seen) = (LogContext::new("GET-1"), Seen::default());
    let mut future = Box::pin(Panics(Box::new(seen.on_drop())).in_context(request.clone()));
    panic_message(|| {
        let _ = poll_once(future.as_mut());
    });
    assert!(seen.all().is_empty() && current_context().is_sentinel());
    drop(future);
    assert_eq!(seen.all(), ["GET-1"]);
    assert_bursts_and_a_panic(&request, 1);
}

#[test]
fn a_future_dropped_before_its_end_drops_in_its_own_context_and_leaves_what_it_found() {
    let _test = testing::start();
    for polls in 0..2 {
        let (request, canceller) = (LogContext::new("GET-1"), LogContext::new("canceller"));
        let seen = Seen::default();
        let on_drop = seen.on_drop();
        let mut future = Box::pin(
            async move {
                let _held = on_drop;
                pending::<()>().await;
            }
            .in_context(request.clone()),
        );
        for _ in 0..polls {
            assert!(poll_once(future.as_mut()).is_pending());
        }
        canceller.scope(|| {
            drop(future);
            assert_eq!(here(), "canceller");
        });
        assert_eq!(seen.all(), ["GET-1"], "after {polls} polls");
        assert_bursts(&request, 1);
        assert_bursts(&canceller, 0);
    }
}

#[test]
fn a_drop_that_panics_leaves_what_it_found() {
    let _test = testing::start();
    let bomb = OnDrop::new(|| panic!("in drop"));
    let future = async move {
        let _bomb = bomb;
        pending::<()>().await;
    }
    .in_context(LogContext::new("GET-1"));
    LogContext::new("canceller").scope(|| {
        assert_eq!(panic_message(|| drop(future)), "in drop");
        assert_eq!(here(), "canceller");
    });
}

#[test]
fn what_a_future_holds_at_its_end_is_dropped_inside_its_last_poll() {
    let _test = testing::start();
    let (request, seen) = (LogContext::new("GET-1"), Seen::default());
    let held = OnDrop::new({
        let seen = seen.clone();
        move || seen.note()
    });
    let mut ready_with_baggage = Some(held);
    let mut future = Box::pin(
        std::future::poll_fn(move |_| {
            assert!(ready_with_baggage.as_mut().is_some());
            Poll::Ready(())
        })
        .in_context(request),
    );
    assert!(poll_once(future.as_mut()).is_ready());
    assert_eq!(seen.all(), ["GET-1"], "before its shell is dropped");
    drop(future);
    assert_eq!(seen.all().len(), 1);
}

#[test]
fn a_future_polled_after_its_end_panics_and_leaves_what_it_found() {
    let _test = testing::start();
    let mut future = pin!(async {}.in_context(LogContext::new("GET-1")));
    assert!(poll_once(future.as_mut()).is_ready());
    let message = panic_message(|| {
        let _ = poll_once(future.as_mut());
    });
    assert!(message.contains("after it was ready"), "{message}");
    assert!(current_context().is_sentinel());
}

#[test]
fn a_context_set_inside_a_poll_is_reported_and_undone_at_its_end() {
    let test = testing::start();
    let (request, other) = (LogContext::new("GET-1"), LogContext::new("other"));
    for (leak, kind) in [
        (other.clone(), DiagnosticKind::ContextMismatch),
        (LogContext::sentinel(), DiagnosticKind::ContextLost),
    ] {
        let leaking = async {
            set_current_context(leak.clone());
            once_pending().await;
            here()
        };
        let (future, line) = (leaking.in_context(request.clone()), line!());
        let mut future = pin!(future);
        LogContext::new("executor").scope(|| {
            assert!(poll_once(future.as_mut()).is_pending());
            assert_eq!(here(), "executor");
            assert_eq!(poll_once(future.as_mut()), Poll::Ready("GET-1".to_owned()), "in its own again");
        });
        let reports = test.take(kind);
        assert_eq!(reports.len(), 1, "{kind}");
        assert_eq!((&reports[0].context, reports[0].found.as_ref()), (&request, Some(&leak)));
        assert_eq!(reports[0].origin.unwrap().line(), line);
    }
}

#[test]
fn a_context_set_inside_a_poll_reaches_no_sibling_even_where_the_context_was_current_already() {
    let test = testing::start();
    let (request, other, sibling) = (LogContext::new("GET-1"), LogContext::new("other"), Seen::default());
    async {
        let leaking = async { set_current_context(other.clone()) }.in_current_context();
        futures_util::future::join(leaking, async { sibling.note() }).await;
    }
    .in_context(request)
    .now_or_never()
    .unwrap();
    assert_eq!(sibling.all(), ["GET-1"]);
    assert_eq!(test.take(DiagnosticKind::ContextMismatch).len(), 1);
}

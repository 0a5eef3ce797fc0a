//! A span takes the context that it was made in to where it is entered.

use logcontext::{DriverThread, FutureExt, LogContext, current_context};
use tracing::{Instrument, Span, info_span};

use crate::support::{here, on_a_thread, on_both, rig, rig_with, spawn};
use logcontext_tracing::ContextSpans;

#[test]
fn a_span_carries_the_context_that_it_was_made_in_to_another_thread() {
    let _rig = rig();
    let request = LogContext::new("GET-17");
    let span = request.scope(|| info_span!("statement"));
    let (inside, after) = on_a_thread(move || {
        let inside = span.in_scope(here);
        (inside, here())
    });
    assert_eq!((inside.as_str(), after.as_str()), ("GET-17", "sentinel"));
}

#[test]
fn a_task_spawned_raw_with_a_span_is_in_the_spans_context_at_each_poll_and_when_it_is_dropped() {
    on_both(|_, runtime| {
        let request = LogContext::new("GET-17");
        let (seen, dropped) = runtime.block_on(async {
            let (tell, told) = tokio::sync::oneshot::channel();
            let told_by_drop = OnDrop(Some(tell));
            let work = async move {
                let _held = told_by_drop;
                let mut seen = vec![here()];
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                    seen.push(here());
                }
                seen
            };
            let span = request.scope(|| info_span!("work"));
            let seen = spawn(work.instrument(span)).await.unwrap();
            (seen, told.await.unwrap())
        });
        assert_eq!(seen, ["GET-17"; 21]);
        assert_eq!(dropped, "GET-17");
    });
}

#[test]
fn a_task_that_is_aborted_drops_what_it_holds_in_the_spans_context() {
    on_both(|_, runtime| {
        let request = LogContext::new("GET-17");
        let dropped = runtime.block_on(async {
            let (tell, told) = tokio::sync::oneshot::channel();
            let held = OnDrop(Some(tell));
            let work = async move {
                let _held = held;
                std::future::pending::<()>().await;
            };
            let task = spawn(work.instrument(request.scope(|| info_span!("work"))));
            task.abort();
            told.await.unwrap()
        });
        assert_eq!(dropped, "GET-17");
    });
}

/// Tells where it was dropped.
struct OnDrop(Option<tokio::sync::oneshot::Sender<String>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(here());
    }
}

#[test]
fn a_span_made_in_a_span_carries_the_same_context_wherever_it_is_made() {
    let _rig = rig();
    let outer = LogContext::new("GET-17").scope(|| info_span!("outer"));
    // In the sentinel: it is the parent that carries it.
    let inner = info_span!(parent: &outer, "inner");
    assert_eq!(on_a_thread(move || inner.in_scope(here)), "GET-17");
    // The context is the master: where one is current, the parent does not matter.
    let other = LogContext::new("prune-3").scope(|| info_span!(parent: &outer, "inner"));
    assert_eq!(on_a_thread(move || other.in_scope(here)), "prune-3");
}

#[test]
fn the_current_span_moved_to_a_thread_carries_the_context_too() {
    let _rig = rig();
    let request = LogContext::new("GET-17");
    let seen = request.scope(|| {
        info_span!("work").in_scope(|| {
            let span = Span::current();
            on_a_thread(move || span.in_scope(here))
        })
    });
    assert_eq!(seen, "GET-17");
}

#[test]
fn a_span_whose_context_has_finished_is_a_follower_of_it_and_not_late() {
    let rig = rig();
    let request = LogContext::new("GET-17");
    let span = request.scope(|| info_span!("rollback"));
    request.finish();
    let burned = span.in_scope(|| crate::support::burn(5_000_000));
    // The rig fails the test if a diagnostic is raised.
    assert!(rig.test.reports().is_empty());
    if let Some(after) = request.cpu_after_finish().filter(|_| burned > 0) {
        assert!(after.as_nanos() as u64 >= burned * 9 / 10, "{after:?}");
    }
}

#[test]
fn a_drivers_thread_takes_the_name_from_the_span_and_is_not_charged_through_it() {
    let _rig = rig();
    let request = LogContext::new("GET-17");
    let span = request.scope(|| info_span!("statement"));
    let name = on_a_thread(move || {
        let _driver = DriverThread::register();
        span.in_scope(|| {
            crate::support::burn(5_000_000);
            here()
        })
    });
    assert_eq!(name, "GET-17");
    // Making the span is all it did itself.
    let cpu = request.usage().cpu().unwrap_or_default();
    assert!(cpu.as_micros() < 2_500, "{cpu:?}");
}

#[test]
fn carry_only_makes_no_contexts_and_carries_those_there_are() {
    let rig = rig_with(ContextSpans::new().carry_only());
    info_span!("request", method = "GET").in_scope(|| assert!(current_context().is_sentinel()));
    let span = LogContext::new("GET-17").scope(|| info_span!("work"));
    assert_eq!(span.in_scope(here), "GET-17");
    assert_eq!(rig.labels(), ["none"]);
}

#[test]
fn a_future_in_a_context_enters_no_span_of_it() {
    on_both(|_, runtime| {
        let request = LogContext::new("GET-17");
        let _span = request.scope(|| info_span!("work"));
        let current = runtime.block_on(
            async {
                tokio::task::yield_now().await;
                Span::current()
            }
            .in_context(request),
        );
        assert!(current.is_none());
    });
}

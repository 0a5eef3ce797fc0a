//! Spans inside contexts, contexts inside spans.

use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext, current_context};
use tracing::{Instrument, info_span};

use crate::support::{burn, charged, here, measure, on_both, rig, spawn};

#[test]
fn a_span_entered_inside_another_requests_context_does_not_hijack_it() {
    let rig = rig();
    measure(|| {
        let (one, other) = (LogContext::new("GET-1"), LogContext::new("GET-2"));
        let span = one.scope(|| info_span!("of the first"));
        let (mut in_one, mut in_other) = (0, 0);
        other.scope(|| {
            span.in_scope(|| {
                assert_eq!(here(), "GET-2");
                tracing::info!("hello");
                in_other += burn(10_000_000);
            });
            assert_eq!(here(), "GET-2");
            in_other += burn(10_000_000);
        });
        span.in_scope(|| in_one += burn(10_000_000));
        charged(&one, in_one).and(charged(&other, in_other))
    });
    assert_eq!(rig.contexts()[0], "GET-2");
}

#[test]
fn nor_does_a_root_span_that_is_a_context_of_its_own() {
    let _rig = rig();
    let span = info_span!("import");
    LogContext::new("GET-2").scope(|| span.in_scope(|| assert_eq!(here(), "GET-2")));
    let other = info_span!("other");
    span.in_scope(|| {
        other.in_scope(|| assert_eq!(here(), "import-1"));
        assert_eq!(here(), "import-1");
    });
    assert!(current_context().is_sentinel());
}

#[test]
fn a_span_that_asks_is_entered_inside_another_context_and_puts_it_back() {
    let _rig = rig();
    let (one, other) = (LogContext::new("GET-1"), LogContext::new("GET-2"));
    let span = one.scope(|| info_span!("of the first", logcontext.enter = true));
    let not = one.scope(|| info_span!("of the first", logcontext.enter = false));
    other.scope(|| {
        span.in_scope(|| assert_eq!(here(), "GET-1"));
        assert_eq!(here(), "GET-2");
        not.in_scope(|| assert_eq!(here(), "GET-2"));
    });
}

#[test]
fn a_span_leaves_a_part_of_its_own_context_alone_even_if_it_asks() {
    let _rig = rig();
    let request = LogContext::new("GET-1");
    let span = request.scope(|| info_span!("whole", logcontext.enter = true));
    request.nested("lookup").scope(|| span.in_scope(|| assert_eq!(here(), "GET-1-lookup")));
}

#[test]
fn in_a_context_and_in_a_span_of_it_costs_are_counted_once() {
    on_both(|_, runtime| {
        let work = |span: tracing::Span| async move {
            let mut burned = 0;
            for _ in 0..10 {
                burned += span.in_scope(|| burn(2_000_000));
                tokio::task::yield_now().await;
            }
            burned
        };
        measure(|| {
            let request = LogContext::new("GET-1");
            let span = request.scope(|| info_span!("work"));
            let burned = runtime.block_on(async {
                let inside = work(span.clone()).in_context(request.clone()).instrument(span.clone());
                let outside = work(span.clone()).instrument(span.clone()).in_context(request.clone());
                let both = (spawn(inside), spawn(outside));
                both.0.await.unwrap() + both.1.await.unwrap()
            });
            charged(&request, burned)
        });
    });
}

#[test]
fn combinators_inside_spans_and_spans_inside_combinators_put_back_what_they_found() {
    on_both(|rig, runtime| {
        let (one, other) = (LogContext::new("GET-1"), LogContext::new("GET-2"));
        let span = one.scope(|| info_span!("work"));
        let look = || async {
            let mut seen = vec![here()];
            for _ in 0..5 {
                tokio::task::yield_now().await;
                seen.push(here());
            }
            seen
        };
        let (inside, outside, twice) = runtime.block_on(async {
            let inside = spawn(look().in_context(other.clone()).instrument(span.clone()));
            let outside = spawn(look().instrument(span.clone()).in_context(other.clone()));
            let twice = spawn(look().instrument(span.clone()).instrument(span.clone()));
            (inside.await.unwrap(), outside.await.unwrap(), twice.await.unwrap())
        });
        assert_eq!(inside, ["GET-2"; 6], "the innermost");
        assert_eq!(outside, ["GET-2"; 6], "a span hijacks nobody");
        assert_eq!(twice, ["GET-1"; 6]);
        assert!(rig.test.reports().is_empty());
    });
}

#[test]
fn a_span_left_inside_a_scope_takes_effect_when_the_scope_ends() {
    let rig = rig();
    let (one, other) = (LogContext::new("GET-1"), LogContext::new("GET-2"));
    for inside in [&other, &one, &LogContext::sentinel()] {
        let entered = one.scope(|| info_span!("work")).entered();
        assert_eq!(here(), "GET-1");
        inside.scope(|| {
            drop(entered);
            assert_eq!(current_context(), *inside);
            inside.scope(|| other.scope(|| ()));
            assert_eq!(current_context(), *inside);
        });
        assert!(current_context().is_sentinel());
    }
    assert!(rig.test.reports().is_empty());
}

#[test]
fn a_span_left_inside_a_poll_takes_effect_when_the_poll_ends() {
    on_both(|rig, runtime| {
        let (one, other) = (LogContext::new("GET-1"), LogContext::new("GET-2"));
        for inside in [&other, &one, &LogContext::sentinel()] {
            let entered = one.scope(|| info_span!("work")).entered();
            let expected = inside.clone();
            // Polled on this thread, whichever runtime it is.
            let mut future = std::pin::pin!(
                async move {
                    drop(entered);
                    assert_eq!(current_context(), expected);
                }
                .in_context(inside.clone())
            );
            let _runtime = runtime.enter();
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(future.as_mut().poll(&mut cx).is_ready());
            assert!(current_context().is_sentinel());
        }
        assert!(rig.test.reports().is_empty());
    });
}

#[test]
fn a_span_left_before_a_guard_that_was_entered_in_it_leaves_nothing_behind() {
    let rig = rig();
    let (one, other) = (LogContext::new("GET-1"), LogContext::new("GET-2"));
    let entered = one.scope(|| info_span!("work")).entered();
    let guard = other.enter();
    drop(entered);
    assert_eq!(here(), "GET-2");
    drop(guard);
    assert!(current_context().is_sentinel());
    assert!(rig.test.reports().is_empty());
}

/// Not `Send`, as the compiler sees to it: a local future.
#[expect(clippy::await_holding_invalid_type, reason = "the mistake that is tested")]
async fn holds(span: &tracing::Span) -> Vec<String> {
    let mut seen = vec![here()];
    let entered = span.enter();
    seen.push(here());
    tokio::task::yield_now().await;
    seen.push(here());
    drop(entered);
    seen.push(here());
    seen
}

#[test]
fn a_spans_guard_held_across_an_await_is_put_right_and_reported_at_the_end_of_the_poll() {
    let rig = rig();
    let runtime = rig.test.current_thread();
    let one = LogContext::new("GET-1");
    let span = one.scope(|| info_span!("held", logcontext.enter = true));
    for outside in [LogContext::new("GET-2"), LogContext::sentinel()] {
        let name = outside.name().to_owned();
        let mut held = std::pin::pin!(holds(&span).in_context(outside.clone()));
        let seen = runtime.block_on(std::future::poll_fn(|cx| {
            let poll = held.as_mut().poll(cx);
            assert!(current_context().is_sentinel(), "it has leaked into {}", here());
            poll
        }));
        assert_eq!(seen, [&*name, "GET-1", &*name, &*name]);
        let reports = rig.test.take(DiagnosticKind::GuardAcrossAwait);
        assert_eq!(reports.len(), 1);
        assert_eq!((&reports[0].context, reports[0].found.as_ref()), (&outside, Some(&one)));
        let detail = reports[0].detail.as_deref().unwrap();
        assert!(detail.starts_with("span held at ") && detail.contains("nesting.rs:"), "{detail}");
    }
}

#[test]
fn a_spans_guard_held_across_an_await_in_its_own_context_changes_nothing() {
    let rig = rig();
    let runtime = rig.test.current_thread();
    let one = LogContext::new("GET-1");
    let span = one.scope(|| info_span!("held"));
    assert_eq!(runtime.block_on(holds(&span).in_context(one)), ["GET-1"; 4]);
    assert!(current_context().is_sentinel());
}

#[test]
fn a_spans_guard_held_across_an_await_in_no_context_is_noticed_where_the_thread_parks() {
    let rig = rig();
    let one = LogContext::new("GET-1");
    let entered = one.scope(|| info_span!("held")).entered();
    logcontext::expect_sentinel();
    assert!(current_context().is_sentinel());
    drop(entered);
    assert!(current_context().is_sentinel());
    assert_eq!(rig.test.take(DiagnosticKind::GuardAcrossAwait).len(), 1);
}

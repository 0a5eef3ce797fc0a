//! No subscriber, two of them, filters, threads that never entered, spans that are closed while entered.

use std::sync::{Arc, Barrier};

use logcontext::{LogContext, current_context};
use logcontext_tracing::ContextSpans;
use tracing::{Dispatch, Span, debug_span, dispatcher, info_span};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::common::Kept;
use crate::support::{here, on_a_thread, rig, rig_with};

#[test]
fn no_span_and_no_subscriber_change_nothing() {
    Span::none().in_scope(|| assert!(current_context().is_sentinel()));
    let _test = logcontext::testing::start();
    dispatcher::with_default(&Dispatch::none(), || {
        info_span!("request", method = "GET").in_scope(|| assert!(current_context().is_sentinel()));
        Span::current().in_scope(|| ());
    });
}

#[test]
fn spans_of_two_subscribers_that_have_the_same_number_are_told_apart() {
    let first = rig();
    let one = info_span!("one", logcontext.enter = true);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(ContextSpans::new()));
    let two = dispatcher::with_default(&dispatch, || info_span!("two", logcontext.enter = true));
    assert_eq!(one.id(), two.id(), "or it is no test");
    let enter = |span: &Span| span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
    let exit = |span: &Span| span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
    enter(&one);
    enter(&two);
    assert_eq!(here(), "two-1");
    exit(&one);
    assert_eq!(here(), "two-1");
    exit(&two);
    assert!(current_context().is_sentinel());
    drop((one, two));
    assert!(first.test.reports().is_empty());
}

#[test]
fn two_layers_in_one_subscriber_make_one_context_of_a_span() {
    let test = logcontext::testing::start();
    let layers = tracing_subscriber::registry().with(ContextSpans::new()).with(ContextSpans::new());
    let _default = layers.set_default();
    info_span!("import").in_scope(|| assert_eq!(here(), "import-1"));
    assert!(current_context().is_sentinel());
    assert_eq!(test.supervisor().totals()[0].started, 1);
}

#[test]
fn a_span_left_on_a_thread_that_never_entered_it_changes_nothing_there() {
    let _rig = rig();
    let span = info_span!("work");
    span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
    let elsewhere = span.clone();
    on_a_thread(move || {
        LogContext::new("GET-2").scope(|| {
            elsewhere.with_subscriber(|(id, dispatch)| dispatch.exit(id));
            assert_eq!(here(), "GET-2");
        });
        assert!(current_context().is_sentinel());
    });
    assert_eq!(here(), "work-1");
    span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
    assert!(current_context().is_sentinel());
}

#[test]
fn one_span_on_two_threads_at_once_is_one_context_on_both() {
    let rig = rig();
    let span = info_span!("work");
    let meet = Arc::new(Barrier::new(2));
    let (there, their_meet) = (span.clone(), Arc::clone(&meet));
    let (name, burned) = span.in_scope(|| {
        #[expect(clippy::disallowed_methods, reason = "the span is what carries the context")]
        let thread = std::thread::spawn(move || {
            there.in_scope(|| {
                their_meet.wait();
                (here(), crate::support::burn(5_000_000))
            })
        });
        meet.wait();
        let here = crate::support::burn(5_000_000);
        let (name, there) = thread.join().unwrap();
        (name, here + there)
    });
    assert_eq!(name, "work-1");
    drop(span);
    let Some(cpu) = rig.totals("work").usage.cpu() else { return };
    let ratio = cpu.as_nanos() as f64 / burned as f64;
    // One thread of the two would be half; starting a thread in it costs as well.
    assert!((0.9..1.4).contains(&ratio), "{ratio:.3}");
}

#[test]
fn a_span_closed_while_it_is_entered_leaves_its_context_and_finishes_it() {
    let rig = rig();
    let span = info_span!("work");
    let (id, dispatch) = (span.id().unwrap(), rig.dispatch.clone());
    dispatch.enter(&id);
    dispatch.enter(&id);
    let context = current_context();
    assert_eq!(context.name(), "work-1");
    drop(span);
    assert!(context.is_finished());
    assert!(current_context().is_sentinel());
    dispatch.exit(&id);
    assert!(current_context().is_sentinel());
}

#[test]
fn a_span_that_a_filter_has_disabled_carries_nothing() {
    let test = logcontext::testing::start();
    let filter = Targets::new().with_default(LevelFilter::INFO);
    for beside in [true, false] {
        // A filter in front of all, and one of the layer alone.
        let dispatch = if beside {
            Dispatch::new(tracing_subscriber::registry().with(filter.clone()).with(ContextSpans::new()))
        } else {
            Dispatch::new(
                tracing_subscriber::registry().with(ContextSpans::new().with_filter(filter.clone())),
            )
        };
        dispatcher::with_default(&dispatch, || {
            debug_span!("request", method = "GET").in_scope(|| {
                assert!(current_context().is_sentinel());
                info_span!("import").in_scope(|| assert_eq!(here(), "import-1"));
            });
            let (off, on) =
                LogContext::new("GET-17").scope(|| (debug_span!("statement"), info_span!("statement")));
            assert_eq!(off.in_scope(here), "sentinel");
            assert_eq!(on.in_scope(here), "GET-17");
        });
    }
    assert!(current_context().is_sentinel());
    assert!(test.reports().is_empty());
}

#[test]
fn the_logs_own_filter_lets_spans_through_that_may_become_contexts_and_no_more_records() {
    let test = logcontext::testing::start();
    let kept = Kept::default();
    let (dispatch, log) = logcontext_tracing::builder()
        .json()
        .filter("warn")
        .unwrap()
        .writer(kept.clone())
        .contexts_on_spans(ContextSpans::new())
        .build()
        .unwrap();
    dispatcher::with_default(&dispatch, || {
        debug_span!("request", method = "GET", route = "/").in_scope(|| {
            tracing::info!("not for the log");
            tracing::warn!("hello");
        });
        debug_span!("details").in_scope(|| assert!(current_context().is_sentinel()));
        info_span!("import").in_scope(|| assert_eq!(here(), "import-1"));
    });
    assert!(log.flush());
    let lines = kept.json();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["message"], &lines[0]["label"]), (&"hello".into(), &"GET /".into()));
    assert!(test.reports().is_empty());
}

#[test]
fn a_layer_that_makes_no_roots_lets_no_more_spans_through() {
    let _test = logcontext::testing::start();
    let (dispatch, _log) = logcontext_tracing::builder()
        .filter("warn")
        .unwrap()
        .writer(std::io::sink())
        .contexts_on_spans(ContextSpans::new().carry_only())
        .build()
        .unwrap();
    dispatcher::with_default(&dispatch, || assert!(info_span!("import").is_disabled()));
}

#[test]
fn a_layer_that_logs_while_a_span_is_entered_or_closed_does_not_deadlock() {
    struct Writes;
    impl<S> tracing_subscriber::Layer<S> for Writes
    where
        S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        fn on_event(&self, event: &tracing::Event<'_>, context: tracing_subscriber::layer::Context<'_, S>) {
            if let Some(span) = context.event_span(event) {
                span.extensions_mut().replace(1_u8);
            }
        }
    }
    let test = logcontext::testing::start();
    let layers = tracing_subscriber::registry().with(ContextSpans::new().log_costs(true)).with(Writes);
    let _default = layers.set_default();
    let (span, turn_back) = (info_span!("import"), logcontext::testing::turn_back_the_cpu_clock);
    LogContext::new("before").scope(|| crate::support::burn(2_000_000));
    crate::support::burn(1_000_000);
    // Entering the span finds a clock that has gone backwards, and says so: in the span.
    turn_back(std::time::Duration::from_secs(1));
    span.in_scope(|| assert_eq!(here(), "import-1"));
    turn_back(std::time::Duration::ZERO);
    drop(span);
    let reports = test.take(logcontext::diagnostics::DiagnosticKind::ClockWentBackwards);
    assert!(!reports.is_empty() || !cfg!(target_os = "linux"));
}

#[test]
fn a_span_entered_in_a_record_in_a_span_is_no_trouble() {
    struct Logs;
    impl std::fmt::Debug for Logs {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            info_span!("inner").in_scope(|| f.write_str(&here()))
        }
    }
    let rig = rig_with(ContextSpans::new());
    info_span!("outer").in_scope(|| tracing::info!(value = ?Logs, "hello"));
    assert_eq!(rig.lines()[0]["value"], "outer-1");
    info_span!("fields", value = ?Logs).in_scope(|| assert_eq!(here(), "fields-2"));
    assert!(current_context().is_sentinel());
}

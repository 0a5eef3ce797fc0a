//! Scopes, guards and callbacks: sync code leaves the current context as it found it.
mod common;

use std::cell::RefCell;

use common::{BURST, Seen, assert_bursts, assert_bursts_and_a_panic, burn, here, panic_message};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{
    Entered, LogContext, current_context, preserve_fn, preserve_mut, preserve_once, preserve_ref,
    set_current_context, testing,
};
use proptest::prelude::*;

#[test]
fn a_scope_sets_its_context_and_puts_back_the_one_before() {
    let _test = testing::start();
    let (outer, inner) = (LogContext::new("outer"), LogContext::new("inner"));
    outer.scope(|| {
        assert_eq!(inner.scope(here), "inner");
        assert_eq!(here(), "outer");
        outer.scope(|| assert_eq!(here(), "outer", "the one that is current already"));
        assert_eq!(here(), "outer");
        burn(BURST);
        inner.scope(|| burn(2 * BURST));
    });
    assert!(current_context().is_sentinel());
    assert_bursts(&outer, 1);
    assert_bursts(&inner, 2);
}

#[test]
fn a_scope_puts_back_the_context_before_it_on_panic_too() {
    let _test = testing::start();
    let (outer, inner, seen) = (LogContext::new("outer"), LogContext::new("inner"), Seen::default());
    outer.scope(|| {
        let message = panic_message(|| {
            inner.scope(|| {
                let _dropped_while_unwinding = seen.on_drop();
                panic!("oh no");
            });
        });
        assert_eq!(message, "oh no");
        assert_eq!(here(), "outer");
    });
    assert_eq!(seen.all(), ["inner"]);
    assert_bursts_and_a_panic(&inner, 1);
    assert_bursts(&outer, 0);
    assert!(current_context().is_sentinel());
}

#[test]
fn outside_any_context_and_back() {
    let _test = testing::start();
    let request = LogContext::new("GET-1");
    request.scope(|| {
        LogContext::sentinel().scope(|| {
            assert!(current_context().is_sentinel());
            burn(BURST);
        });
        assert_eq!(here(), "GET-1");
        panic_message(|| LogContext::sentinel().scope(|| panic!("outside")));
        assert_eq!(here(), "GET-1");
    });
    assert_bursts(&request, 0);
}

#[test]
fn a_guard_goes_back_when_it_is_dropped_on_panic_too() {
    let _test = testing::start();
    let (outer, inner) = (LogContext::new("outer"), LogContext::new("inner"));
    let guard = outer.enter();
    panic_message(|| {
        let _guard = inner.enter();
        assert_eq!(here(), "inner");
        burn(BURST);
        panic!("oh no");
    });
    assert_eq!(here(), "outer");
    drop(guard);
    assert!(current_context().is_sentinel());
    assert_bursts_and_a_panic(&inner, 1);
}

#[test]
fn guards_of_one_context_inside_each_other_are_in_order() {
    let _test = testing::start();
    let ctx = LogContext::new("import");
    let outer = ctx.enter();
    ctx.scope(|| drop(ctx.enter()));
    assert_eq!(here(), "import");
    drop(outer);
    assert!(current_context().is_sentinel());
}

#[test]
fn a_guard_that_goes_before_a_younger_one_leaves_that_ones_context_in_place() {
    let test = testing::start();
    let (first, second) = (LogContext::new("first"), LogContext::new("second"));
    let line = line!() + 1;
    let outer = first.enter();
    let inner = second.enter();
    drop(outer);
    assert_eq!(here(), "second");
    drop(inner);
    assert!(current_context().is_sentinel(), "and not the one whose guard is gone");
    let reports = test.take(DiagnosticKind::GuardOutOfOrder);
    assert_eq!(reports.len(), 1);
    assert_eq!((&reports[0].context, reports[0].found.as_ref()), (&first, Some(&second)));
    assert_eq!(reports[0].origin.unwrap().line(), line);
}

proptest! {
    #[test]
    fn guards_dropped_in_any_order_leave_the_youngest_ones_context_and_in_the_end_none(
        order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let test = testing::start();
        let contexts: Vec<_> = (0..order.len()).map(|i| LogContext::new(format!("guard-{i}"))).collect();
        let mut guards: Vec<Option<Entered>> = contexts.iter().map(|ctx| Some(ctx.enter())).collect();
        let mut out_of_order = 0;
        for dropped in order {
            let youngest = guards.iter().rposition(Option::is_some);
            out_of_order += usize::from(youngest != Some(dropped));
            guards[dropped] = None;
            let expected = guards.iter().rposition(Option::is_some).map(|i| contexts[i].clone());
            prop_assert_eq!(current_context(), expected.unwrap_or_default());
        }
        prop_assert_eq!(test.take(DiagnosticKind::GuardOutOfOrder).len(), out_of_order);
    }
}

#[test]
fn a_guard_that_outlives_its_scope_is_undone_and_reported_by_the_scope() {
    let test = testing::start();
    let (outer, leaked) = (LogContext::new("outer"), LogContext::new("leaked"));
    let kept = RefCell::new(None);
    let line = line!() + 1;
    outer.scope(|| *kept.borrow_mut() = Some(leaked.enter()));
    assert!(current_context().is_sentinel());
    drop(kept);
    assert!(current_context().is_sentinel(), "the guard has nothing left to do");
    let reports = test.take(DiagnosticKind::GuardAcrossAwait);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].origin.unwrap().line(), line);
    assert_eq!(reports[0].found, Some(leaked));
}

#[test]
fn a_context_that_was_set_and_not_put_back_is_reported_and_undone_by_the_scope() {
    let test = testing::start();
    let (outer, other) = (LogContext::new("outer"), LogContext::new("other"));
    outer.scope(|| {
        let line = line!() + 1;
        other.scope(|| set_current_context(LogContext::sentinel()));
        assert_eq!(here(), "outer");
        let lost = test.take(DiagnosticKind::ContextLost);
        assert_eq!((lost.len(), &lost[0].context), (1, &other));
        assert_eq!(lost[0].origin.unwrap().line(), line);

        // Also where the scope's context was current already.
        outer.scope(|| set_current_context(other.clone()));
        assert_eq!(here(), "outer");
        let mixed_up = test.take(DiagnosticKind::ContextMismatch);
        assert_eq!((mixed_up.len(), &mixed_up[0].context), (1, &outer));
        assert_eq!(mixed_up[0].found, Some(other.clone()));
    });

    let guard = other.enter();
    set_current_context(outer.clone());
    drop(guard);
    assert!(current_context().is_sentinel());
    assert_eq!(test.take(DiagnosticKind::ContextMismatch)[0].found, Some(outer));
}

/// Calls it on another thread that belongs to the test.
fn elsewhere<R: Send>(test: &testing::Test, f: impl FnOnce() -> R + Send) -> R {
    let start = test.thread_start();
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        let thread = threads.spawn(move || {
            start();
            LogContext::new("elsewhere").scope(|| {
                let result = f();
                assert_eq!(here(), "elsewhere", "the callback leaves the context as it found it");
                result
            })
        });
        thread.join().unwrap()
    })
}

#[test]
fn callbacks_run_in_the_context_they_were_made_in_on_other_threads_too() {
    let test = testing::start();
    let request = LogContext::new("GET-1");
    let callback = request.scope(|| {
        preserve_fn(|| {
            burn(BURST);
            here()
        })
    });
    assert_eq!(elsewhere(&test, callback), "GET-1");
    assert_bursts(&request, 1);

    let callback = request.scope(|| preserve_once(|n: u32| format!("{} {n}", here())));
    assert_eq!(elsewhere(&test, move || callback(7)), "GET-1 7");

    let mut seen = Vec::new();
    let mut callback = request.scope(|| preserve_mut(|n: u32| seen.push(format!("{} {n}", here()))));
    elsewhere(&test, || {
        callback(1);
        callback(2);
    });
    drop(callback);
    assert_eq!(seen, ["GET-1 1", "GET-1 2"]);

    let callback = request.scope(|| preserve_ref(|n: u32| format!("{} {n}", here())));
    let (one, two) = (elsewhere(&test, || callback(1)), elsewhere(&test, || callback(2)));
    assert_eq!((one.as_str(), two.as_str()), ("GET-1 1", "GET-1 2"));
}

#[test]
fn a_callback_that_panics_leaves_the_context_of_its_caller() {
    let _test = testing::start();
    let callback = LogContext::new("GET-1").scope(|| preserve_ref(|()| panic!("oh no")));
    LogContext::new("caller").scope(|| {
        panic_message(|| callback(()));
        assert_eq!(here(), "caller");
    });
}

#[test]
fn a_callback_made_in_the_sentinel_runs_in_the_sentinel() {
    let _test = testing::start();
    let callback = preserve_fn(here);
    assert_eq!(LogContext::new("caller").scope(callback), "sentinel");
}

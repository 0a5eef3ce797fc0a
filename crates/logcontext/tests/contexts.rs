//! Contexts: one current on each thread, cheap handles, nested ones that count for their parents.
mod common;

use std::sync::Barrier;
use std::time::Duration;

use common::{BURST, assert_bursts, burn, here, once_pending, poll_once};
use logcontext::{
    ContextKind, Counter, EVT_DB_FETCH_COUNT, Ending, FutureExt, InContext, LogContext, Request,
    ResourceUsage, current_context, set_current_context, testing,
};

static ROWS: Counter = Counter::new("rows_fetched");

#[test]
fn a_thread_starts_in_the_sentinel() {
    let _test = testing::start();
    std::thread::scope(|threads| {
        LogContext::new("GET-1").scope(|| {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            threads.spawn(|| assert!(current_context().is_sentinel()));
        });
    });
}

#[test]
fn setting_the_current_context_returns_the_one_before() {
    let _test = testing::start();
    let (first, second) = (LogContext::new("first"), LogContext::new("second"));
    assert!(set_current_context(first.clone()).is_sentinel());
    assert_eq!(current_context(), first);
    assert_eq!(set_current_context(second.clone()), first);
    assert_eq!(set_current_context(second.clone()), second, "the one that is current already");
    assert_eq!(set_current_context(LogContext::sentinel()), second);
    assert!(current_context().is_sentinel());
}

#[test]
fn each_thread_has_a_current_context_of_its_own() {
    let test = testing::start();
    let both_are_in = Barrier::new(2);
    let enter = |name: &'static str| {
        let (both_are_in, start) = (&both_are_in, test.thread_start());
        move || {
            start();
            LogContext::new(name).scope(|| {
                both_are_in.wait();
                assert_eq!(here(), name);
                both_are_in.wait();
            });
        }
    };
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        threads.spawn(enter("one"));
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        threads.spawn(enter("two"));
    });
    assert!(current_context().is_sentinel());
}

#[test]
fn a_context_on_two_threads_at_once_is_charged_for_both() {
    let test = testing::start();
    let ctx = LogContext::new("import");
    let both_are_in = Barrier::new(2);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            threads.spawn(|| {
                test.thread_start()();
                ctx.scope(|| {
                    both_are_in.wait();
                    burn(BURST);
                });
            });
        }
    });
    assert_bursts(&ctx, 2);
}

#[test]
fn the_sentinel_stands_for_nobody_and_keeps_no_figures() {
    let test = testing::start();
    let sentinel = LogContext::sentinel();
    assert_eq!((sentinel.name(), sentinel.to_string().as_str()), ("sentinel", "sentinel"));
    assert!(sentinel.is_sentinel() && sentinel == LogContext::default() && sentinel == current_context());
    sentinel.record_db_wait(Duration::from_secs(1));
    sentinel.charge_cpu(Duration::from_secs(1));
    sentinel.add(&ROWS, 3);
    burn(BURST);
    assert_eq!(sentinel.usage(), ResourceUsage::default());
    assert_eq!(sentinel.finish(), ResourceUsage::default());
    assert!(!sentinel.is_finished() && sentinel.ending().is_none());
    assert!(!sentinel.set_label("nobody") && sentinel.label().is_none());
    assert!(sentinel.request().is_none() && sentinel.request_id().is_none() && sentinel.origin().is_none());
    assert!(sentinel.parent().is_sentinel() && sentinel.started_by().is_none());
    assert_eq!(sentinel.elapsed(), Duration::ZERO);
    assert_eq!(sentinel.supervisor(), *test.supervisor());
    sentinel.scope(|| assert!(current_context().is_sentinel()));
}

#[test]
fn a_handle_is_one_pointer_wide_and_all_copies_are_the_same_context() {
    let _test = testing::start();
    assert_eq!(size_of::<LogContext>(), size_of::<usize>());
    let (ctx, namesake) = (LogContext::new("import"), LogContext::new("import"));
    assert_eq!(ctx, ctx.clone());
    assert_ne!(ctx, namesake);
    ctx.clone().record_db_wait(Duration::from_millis(1));
    assert_eq!(ctx.usage().db_wait(), Some(Duration::from_millis(1)));
    assert_eq!(namesake.usage().db_wait(), Some(Duration::ZERO));
}

#[test]
fn a_future_in_a_context_is_boxed_nowhere_and_four_words_larger_at_most() {
    fn added<F>(_: &F) -> usize {
        size_of::<InContext<F>>() - size_of::<F>()
    }
    let four_words = 4 * size_of::<usize>();
    let mut big = [0_u8; 4_096];
    let big = async move {
        once_pending().await;
        big[0] += 1;
        big
    };
    assert!(added(&big) <= four_words, "{}", added(&big));
    assert!(added(&std::future::ready(7_u64)) <= four_words);
    assert!(added(&futures_util::stream::iter(0..3)) <= four_words);
}

#[test]
fn a_context_knows_the_line_that_made_it() {
    let _test = testing::start();
    let (ctx, line) = (LogContext::new("import"), line!());
    let origin = ctx.origin().unwrap();
    assert!(origin.file().ends_with("contexts.rs") && origin.line() == line, "{origin}");
    let (part, line) = (ctx.nested("part"), line!());
    assert_eq!(part.origin().unwrap().line(), line);
}

#[test]
fn a_nested_context_inherits_request_label_and_supervisor() {
    let test = testing::start();
    let request = LogContext::builder("GET-17")
        .kind(ContextKind::Request)
        .request(Request::new("GET", "/presence/alice").client("127.0.0.1"))
        .start();
    let lookup = request.nested("lookup");
    let deeper = LogContext::sentinel().scope(|| lookup.nested("rows"));
    assert_eq!((lookup.name(), deeper.name()), ("GET-17-lookup", "GET-17-lookup-rows"));
    assert_eq!((deeper.parent(), lookup.parent()), (lookup.clone(), request.clone()));
    for part in [&lookup, &deeper] {
        assert_eq!(part.request().unwrap().path(), "/presence/alice");
        assert_eq!(part.request_id(), Some("GET-17"), "the request's, not the part's");
        assert_eq!(part.supervisor(), *test.supervisor());
        assert_eq!(part.label(), None);
    }
    assert!(request.set_label("GET /presence/{user}"));
    assert!(!request.set_label("another"), "a label is said once");
    assert_eq!(deeper.label(), Some("GET /presence/{user}"), "known later, known to its parts");
    assert!(lookup.request().unwrap().set_user("@alice"));
    assert_eq!(request.request().unwrap().user(), Some("@alice"), "the request is one, not a copy");
}

#[test]
fn a_request_with_an_id_of_its_own_is_found_by_it() {
    let _test = testing::start();
    let request = Request::new("GET", "/").id("7f3a").trace_id("4bf9");
    let ctx = LogContext::builder("GET-1").request(request).start();
    assert_eq!(ctx.nested("part").request_id(), Some("7f3a"));
    assert_eq!(ctx.request().unwrap().trace(), Some("4bf9"));
    assert_eq!(LogContext::new("startup").request_id(), None);
}

type WayIn = fn(&LogContext, &dyn Fn());
const WAYS_IN: [(&str, WayIn); 5] = [
    ("scope", |ctx, f| ctx.scope(f)),
    ("guard", |ctx, f| {
        let _guard = ctx.enter();
        f();
    }),
    ("set_current_context", |ctx, f| {
        let before = set_current_context(ctx.clone());
        f();
        set_current_context(before);
    }),
    ("poll", |ctx, f| {
        assert!(poll_once(std::pin::pin!(async { f() }.in_context(ctx.clone()))).is_ready());
    }),
    ("callback", |ctx, f| ctx.scope(|| logcontext::preserve_ref(|()| f()))(())),
];

#[test]
fn what_a_nested_context_costs_counts_once_for_it_and_for_each_above() {
    for (way, run_in) in WAYS_IN {
        let _test = testing::start();
        let request = LogContext::new(format!("GET-by-{way}"));
        let lookup = request.nested("lookup");
        let rows = lookup.nested("rows");
        let sibling = request.nested("sibling");
        run_in(&rows, &|| {
            burn(BURST);
            current_context().record_db_transaction(Duration::from_millis(3));
            current_context().record_db_wait(Duration::from_millis(2));
            current_context().add(&ROWS, 20);
            current_context().add(&EVT_DB_FETCH_COUNT, 4);
        });
        run_in(&request, &|| _ = burn(2 * BURST));
        for (ctx, bursts) in [(&rows, 1), (&lookup, 1), (&request, 3)] {
            assert_bursts(ctx, bursts);
            let usage = ctx.usage();
            assert_eq!(usage.db_txn_count, 1, "{ctx}");
            assert_eq!(usage.db_txn_duration, Duration::from_millis(3), "{ctx}");
            assert_eq!(usage.db_wait(), Some(Duration::from_millis(2)), "{ctx}");
            assert_eq!((usage.counter(&ROWS), usage.counter(&EVT_DB_FETCH_COUNT)), (20, 4), "{ctx}");
            assert!(usage.counters().any(|counter| counter == ("rows_fetched", 20)), "{usage:?}");
        }
        assert_eq!(sibling.usage(), ResourceUsage::default());
    }
}

#[test]
fn a_parent_entered_inside_its_part_is_charged_alone() {
    let _test = testing::start();
    let request = LogContext::new("GET-1");
    let lookup = request.nested("lookup");
    lookup.scope(|| request.scope(|| burn(BURST)));
    assert_bursts(&lookup, 0);
    assert_bursts(&request, 1);
}

#[test]
fn a_part_counts_for_its_whole_even_when_nobody_else_holds_that_any_more() {
    let test = testing::start();
    let request = test.supervisor().context("GET-1").label("GET /").start();
    let lookup = request.nested("lookup");
    drop(request);
    lookup.record_db_transaction(Duration::from_millis(1));
    lookup.charge_cpu(Duration::from_secs(7));
    drop(lookup);
    let totals = test.supervisor().totals();
    let row = totals.iter().find(|row| row.label.as_deref() == Some("GET /")).unwrap();
    assert_eq!((row.started, row.usage.db_txn_count), (1, 1));
    assert!(row.usage.cpu().is_none_or(|cpu| cpu >= Duration::from_secs(7)));
}

#[test]
fn the_current_contexts_usage_is_up_to_now() {
    let _test = testing::start();
    let ctx = LogContext::new("import");
    ctx.scope(|| {
        burn(BURST);
        assert_bursts(&ctx, 1);
        burn(BURST);
        let at_finish = ctx.finish();
        assert_bursts(&ctx, 2);
        assert!(ctx.usage().cpu() >= at_finish.cpu());
    });
}

#[test]
fn a_context_finishes_once_and_keeps_its_first_ending_and_time() {
    let _test = testing::start();
    let ctx = LogContext::new("import");
    assert!(!ctx.is_finished() && ctx.ending().is_none());
    ctx.finish_as(Ending::Failed);
    let elapsed = ctx.elapsed();
    ctx.finish_as(Ending::Ok);
    assert!(ctx.clone().is_finished());
    assert_eq!((ctx.ending(), ctx.elapsed()), (Some(Ending::Failed), elapsed));
}

#[test]
fn a_new_context_starts_from_zero_however_much_the_one_before_it_had() {
    let test = testing::start();
    for round in 0..100 {
        let ctx = test.supervisor().context(format!("import-{round}")).start();
        assert_eq!(ctx.usage(), ResourceUsage::default(), "round {round}");
        assert!(
            !ctx.is_finished() && ctx.label().is_none() && ctx.cpu_after_finish() <= Some(Duration::ZERO)
        );
        ctx.record_db_transaction(Duration::from_millis(1));
        ctx.record_db_wait(Duration::from_millis(1));
        ctx.charge_cpu(Duration::from_secs(1));
        ctx.add(&ROWS, 5);
        ctx.set_label("import");
        ctx.finish_as(Ending::Panicked);
        ctx.charge_cpu(Duration::from_secs(1));
    }
}

#[test]
fn a_supervisor_lists_the_contexts_that_live() {
    let test = testing::start();
    let kept = LogContext::new("kept");
    drop(LogContext::new("gone"));
    assert_eq!(test.supervisor().contexts(), [kept]);
}

//! Every kind of fault: counted, told to the hook, logged at warn level with contexts and lines, but not in floods.
mod common;

use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{assert_at, burn, here, once_pending, poll_once};
use logcontext::diagnostics::{DiagnosticKind, Report};
use logcontext::testing::{self, Record, Test};
use logcontext::{
    Ending, FutureExt, LogContext, Supervisor, current_context, expect_sentinel, set_current_context,
};
use tracing::Level;

/// Makes a fault, the n-th of its kind, and answers the line that is to blame.
type Trigger = fn(n: u64) -> Option<u32>;

/// What safe code can do wrong; a guard on another thread is seen to by the compiler, and tested where it is made.
#[expect(clippy::await_holding_invalid_type, reason = "one of the faults")]
fn triggers() -> Vec<(DiagnosticKind, Trigger)> {
    vec![
        (DiagnosticKind::ContextLost, |_| {
            let ctx = LogContext::new("GET-1");
            let (_, line) = (ctx.scope(|| set_current_context(LogContext::sentinel())), line!());
            Some(line)
        }),
        (DiagnosticKind::ContextMismatch, |_| {
            let (ctx, other) = (LogContext::new("GET-1"), LogContext::new("other"));
            let (_, line) = (ctx.scope(|| set_current_context(other.clone())), line!());
            Some(line)
        }),
        (DiagnosticKind::FinishedRestarted, |_| {
            let ctx = LogContext::new("GET-1");
            ctx.finish();
            let ((), line) = (ctx.scope(|| ()), line!());
            Some(line)
        }),
        (DiagnosticKind::GuardAcrossAwait, |_| {
            let (ctx, held) = (LogContext::new("GET-1"), LogContext::new("held"));
            let mut line = 0;
            let mut future = Box::pin(
                async {
                    line = line!() + 1;
                    let guard = held.enter();
                    once_pending().await;
                    drop(guard);
                    assert_eq!(here(), "GET-1");
                }
                .in_context(ctx),
            );
            while poll_once(future.as_mut()).is_pending() {
                assert!(current_context().is_sentinel(), "undone at the end of the poll");
            }
            drop(future);
            Some(line)
        }),
        (DiagnosticKind::GuardOutOfOrder, |_| {
            let (first, second) = (LogContext::new("first"), LogContext::new("second"));
            let (guard, line) = (first.enter(), line!());
            let second = second.enter();
            drop(guard);
            drop(second);
            Some(line)
        }),
        (DiagnosticKind::ClockWentBackwards, |n| {
            let ctx = LogContext::new("GET-1");
            ctx.scope(|| burn(3_000_000));
            let before = ctx.usage();
            ctx.scope(|| {
                // Each time by 2 ms more, which is less than was burned.
                testing::turn_back_the_cpu_clock(Duration::from_millis(2 * (n + 1)));
                // Long enough that the thread's clock is looked at, too short for it to catch up.
                (0..20_000).map(std::hint::black_box).sum::<u64>()
            });
            assert!(ctx.usage().cpu() >= before.cpu(), "what was charged stays charged");
            None
        }),
        (DiagnosticKind::TransactionFromSentinel, |_| {
            let ((), line) = (LogContext::sentinel().record_db_transaction(Duration::ZERO), line!());
            Some(line)
        }),
        (DiagnosticKind::TransactionInside, |_| {
            let (origin, line) = (Location::caller(), line!());
            let report = Report::new(DiagnosticKind::TransactionInside, &LogContext::new("PUT-1"));
            report.origin(origin).detail("`inner` inside of `outer`").raise();
            Some(line)
        }),
        (DiagnosticKind::CommandFromSentinel, |_| {
            let (origin, line) = (Location::caller(), line!());
            let report = Report::new(DiagnosticKind::CommandFromSentinel, &current_context());
            report.origin(origin).detail("RDATA").raise();
            Some(line)
        }),
        (DiagnosticKind::NameUsedTwice, |_| {
            let service = Supervisor::current();
            let _first = service.claim_name("cache", "profiles", Location::caller());
            let (_second, line) = (service.claim_name("cache", "profiles", Location::caller()), line!());
            Some(line)
        }),
        (DiagnosticKind::NestedFromSentinel, |_| {
            let (ctx, line) = (LogContext::sentinel().nested("lookup"), line!());
            assert_eq!((ctx.name(), ctx.parent().is_sentinel()), ("sentinel-lookup", true));
            Some(line)
        }),
        #[cfg(feature = "tokio")]
        (DiagnosticKind::BackgroundReentered, |_| {
            let process = in_runtime(async {
                let process = logcontext::background::run("prune_cache", async {});
                let context = process.context().clone();
                process.await.unwrap();
                context
            });
            let ((), line) = (process.scope(|| ()), line!());
            Some(line)
        }),
        #[cfg(feature = "tokio")]
        (DiagnosticKind::BlockingFromSentinel, |_| {
            in_runtime(async {
                let (work, line) = (logcontext::spawn_blocking(|| ()), line!());
                work.await.unwrap();
                Some(line)
            })
        }),
        #[cfg(feature = "tokio")]
        (DiagnosticKind::BackgroundFromSentinel, |_| {
            in_runtime(async {
                let (work, line) = (logcontext::run_in_background(async { here() }), line!());
                assert_eq!(work.await.as_deref(), Ok("sentinel"));
                Some(line)
            })
        }),
    ]
}

#[cfg(feature = "tokio")]
fn in_runtime<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn warnings(test: &Test, kind: DiagnosticKind) -> Vec<Record> {
    let warnings = test.records_at(Level::WARN).into_iter();
    warnings.filter(|record| record.field("kind") == Some(kind.name())).collect()
}

/// On a thread of its own: one of the faults is a clock that went wrong, for good.
fn on_its_own_thread(f: impl FnOnce() + Send) {
    #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
    let ended = std::thread::scope(|threads| threads.spawn(f).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_fault_of_any_kind_is_counted_told_to_the_hook_and_logged_once_at_warn_level() {
    on_its_own_thread(|| {
        for (kind, trigger) in triggers() {
            if kind == DiagnosticKind::ClockWentBackwards && logcontext::bench::thread_cpu_nanos().is_none() {
                continue;
            }
            let test = testing::start();
            let hooked = Arc::new(Mutex::new(Vec::new()));
            let heard = Arc::clone(&hooked);
            test.supervisor().on_diagnostic(move |report| heard.lock().unwrap().push(report.clone()));
            let line = trigger(0);

            assert!(current_context().is_sentinel(), "{kind}");
            for counted in DiagnosticKind::ALL {
                assert_eq!(test.supervisor().diagnostics(*counted), u64::from(*counted == kind), "{counted}");
            }
            let reports = test.take(kind);
            assert_eq!((reports.len(), hooked.lock().unwrap().len()), (1, 1), "{kind}");
            assert_eq!(hooked.lock().unwrap()[0].to_string(), reports[0].to_string());
            let (report, warnings) = (&reports[0], warnings(&test, kind));
            assert_eq!(report.origin.map(Location::line), line, "{kind}");
            assert!(report.origin.is_none_or(|origin| origin.file().ends_with("diagnostics.rs")));

            assert_eq!(warnings.len(), 1, "{kind}: {:?}", test.records());
            let warning = &warnings[0];
            assert_eq!(
                (warning.target.as_str(), warning.message.as_str()),
                ("logcontext::diagnostics", kind.message())
            );
            assert_eq!(warning.field("expected"), Some(report.context.name()));
            assert_eq!(warning.field("found"), report.found.as_ref().map(LogContext::name));
            assert_eq!(warning.field("detail"), report.detail.as_deref());
            assert_eq!(warning.field("suppressed"), None);
            match (line, report.context.origin()) {
                (Some(line), _) => assert_at(warning, "started_at", &format!("{}:{line}:", file!())),
                (None, made_at) => assert_at(warning, "made_at", &made_at.unwrap().to_string()),
            }
            let text = report.to_string();
            assert!(text.starts_with(kind.name()) && text.contains(report.context.name()), "{text}");
            assert_eq!(test.records_at(Level::ERROR).len(), 0);
        }
    });
}

#[test]
fn a_flood_of_one_kind_is_counted_whole_and_logged_in_part_and_drowns_no_other_kind() {
    on_its_own_thread(|| {
        let test = testing::start();
        let mut expected = Vec::new();
        for (kind, trigger) in triggers() {
            if kind == DiagnosticKind::ClockWentBackwards && logcontext::bench::thread_cpu_nanos().is_none() {
                continue;
            }
            (0..25).for_each(|n| {
                trigger(n);
            });
            expected.push(kind);
        }
        for kind in expected {
            assert_eq!(test.take(kind).len(), 25, "{kind}");
            assert_eq!(test.supervisor().diagnostics(kind), 25, "{kind}");
            assert_eq!(warnings(&test, kind).len(), 10, "{kind}");
        }
    });
}

#[test]
fn a_thread_that_parks_in_a_context_is_reported_and_put_back_into_the_sentinel() {
    let test = testing::start();
    let ctx = LogContext::new("leaked");
    expect_sentinel();
    set_current_context(ctx.clone());
    expect_sentinel();
    assert!(current_context().is_sentinel());
    let reports = test.take(DiagnosticKind::ContextMismatch);
    assert_eq!((reports.len(), reports[0].found.as_ref()), (1, Some(&ctx)));
    assert!(reports[0].context.is_sentinel());

    let guard = ctx.enter();
    expect_sentinel();
    drop(guard);
    assert!(current_context().is_sentinel());
    assert_eq!(test.take(DiagnosticKind::GuardAcrossAwait).len(), 1);
}

#[test]
fn a_fault_belongs_to_the_supervisor_of_the_context_that_it_concerns() {
    let test = testing::start();
    let service = Supervisor::new("presence");
    let ctx = service.context("GET-1").start();
    ctx.finish_as(Ending::Cancelled);
    ctx.scope(|| ());
    assert_eq!(service.diagnostics(DiagnosticKind::FinishedRestarted), 1);
    set_current_context(service.context("leaked").start());
    expect_sentinel();
    assert_eq!(
        service.diagnostics(DiagnosticKind::ContextMismatch),
        1,
        "what was found, where none was expected"
    );
    assert!(test.reports().is_empty());
}

#[test]
fn a_hook_may_add_hooks_and_use_contexts() {
    let test = testing::start();
    let service = test.supervisor().clone();
    let seen = common::Seen::default();
    let (inner, noted) = (service.clone(), seen.clone());
    service.on_diagnostic(move |_| {
        LogContext::new("hook").scope(|| noted.note());
        let noted = noted.clone();
        inner.on_diagnostic(move |_| noted.note());
    });
    LogContext::new("GET-1").scope(|| LogContext::sentinel().record_db_transaction(Duration::ZERO));
    assert_eq!(seen.all(), ["hook"]);
    LogContext::sentinel().record_db_transaction(Duration::ZERO);
    assert_eq!(seen.all(), ["hook", "hook", "sentinel"]);
    assert_eq!(test.take(DiagnosticKind::TransactionFromSentinel).len(), 2);
}

#[test]
fn names_are_stable_and_told_apart() {
    let names: std::collections::HashSet<_> = DiagnosticKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), DiagnosticKind::ALL.len());
    assert_eq!(DiagnosticKind::GuardAcrossAwait.to_string(), "guard_across_await");
}

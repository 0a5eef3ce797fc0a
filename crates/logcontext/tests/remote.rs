//! What calls cost elsewhere: charged where a database's costs are, and never mixed with what was done here.
#![cfg(feature = "tokio")]
mod common;

use std::time::Duration;

use common::{BURST, burn};
use logcontext::testing;
use logcontext::{
    ContextKind, FutureExt, LogContext, RemoteUsage, ResourceUsage, books, current_context, measure_sync,
};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A call that has cost something of everything.
fn cost() -> RemoteUsage {
    RemoteUsage::call().with_cpu(millis(7)).with_db_txns(2, millis(5)).with_db_wait(millis(1))
}

/// All that is not remote.
fn own(usage: &ResourceUsage) -> (Option<Duration>, u64, Duration, Option<Duration>) {
    (usage.cpu(), usage.db_txn_count, usage.db_txn_duration, usage.db_wait())
}

#[test]
fn a_call_is_charged_to_the_context_and_to_all_above_once_each() {
    let _test = testing::start();
    let request = LogContext::new("GET-1");
    let part = request.nested("part");
    let inner = part.nested("inner");
    inner.record_remote(&cost());
    part.record_remote(&RemoteUsage::unknown());
    assert_eq!(inner.usage().remote(), cost());
    assert_eq!(part.usage().remote(), cost() + RemoteUsage::unknown());
    assert_eq!(request.usage().remote(), part.usage().remote());
    let remote = request.finish().remote();
    assert_eq!((remote.calls, remote.unknown, remote.db_txn_count), (1, 1, 2));
    assert_eq!((remote.cpu(), remote.db_txn_duration), (Some(millis(7)), millis(5)));
    assert_eq!(remote.db_wait(), Some(millis(1)));
}

#[test]
fn what_was_done_elsewhere_was_not_done_here() {
    let test = testing::start();
    let charged = || books().map(|books| (books.contexts(), books.process()));
    let before = charged();
    let request = test.supervisor().context("GET-1").kind(ContextKind::Request).label("GET /").start();
    for _ in 0..10 {
        request.record_remote(&RemoteUsage::call().with_cpu(Duration::from_secs(600)));
    }
    let nothing = own(&LogContext::new("other").usage());
    assert_eq!(own(&request.usage()), nothing);
    let totals = test.supervisor().totals();
    let usage = totals.iter().find(|row| row.label.is_some()).unwrap().usage;
    assert_eq!((own(&usage), usage.remote().cpu()), (nothing, Some(Duration::from_secs(6_000))));
    if let (Some(before), Some(after)) = (before, charged()) {
        assert!(after.0 - before.0 <= after.1, "{before:?} {after:?}");
        assert!(after.0 - before.0 < Duration::from_secs(600), "{before:?} {after:?}");
    }
}

#[test]
fn a_call_that_comes_home_late_is_charged_all_the_same() {
    let test = testing::start();
    let request = test.supervisor().context("GET-1").kind(ContextKind::Request).label("GET /").start();
    request.finish();
    request.record_remote(&cost());
    assert_eq!(request.cpu_after_finish(), request.usage().cpu(), "it is none of its CPU");
    let remote = || test.supervisor().totals()[0].usage.remote();
    assert_eq!(remote(), cost());
    drop(request);
    assert_eq!(remote(), cost());
}

#[test]
fn a_label_has_what_its_contexts_have_caused_those_that_live_and_those_that_are_gone() {
    let test = testing::start();
    let request = |name| test.supervisor().context(name).kind(ContextKind::Request).start();
    let (gone, live) = (request("GET-1"), request("GET-2"));
    for context in [&gone, &live] {
        context.nested("part").record_remote(&cost());
        assert!(context.set_label("GET /"));
    }
    gone.finish();
    drop(gone);
    live.record_remote(&RemoteUsage::unknown());
    let totals = test.supervisor().totals();
    let row = totals.iter().find(|row| row.label.as_deref() == Some("GET /")).unwrap();
    assert_eq!(row.usage.remote(), cost() + cost() + RemoteUsage::unknown());
    assert_eq!((row.usage - row.usage).remote(), RemoteUsage::default());
}

#[test]
fn a_measured_block_has_what_it_has_caused() {
    let test = testing::start();
    let request = test.supervisor().context("GET-1").label("work").start();
    request.scope(|| measure_sync("ask", || current_context().record_remote(&cost())));
    let totals = test.supervisor().totals();
    let block = totals.iter().find(|row| row.kind == ContextKind::Block).unwrap();
    assert_eq!((block.usage.remote(), request.usage().remote()), (cost(), cost()));
}

#[test]
fn who_comes_after_a_context_begins_with_nothing() {
    let test = testing::start();
    // Accounts are used again.
    for _ in 0..100 {
        let context = test.supervisor().context("GET-1").start();
        assert!(context.usage().remote().is_empty());
        context.record_remote(&cost());
        assert_eq!(context.usage().remote(), cost());
    }
}

#[test]
fn the_sentinel_keeps_nothing() {
    let _test = testing::start();
    LogContext::sentinel().record_remote(&cost());
    assert!(LogContext::sentinel().usage().remote().is_empty());
}

#[test]
fn it_is_shown_where_there_is_something() {
    let _test = testing::start();
    let context = LogContext::new("GET-1");
    assert!(!format!("{:?}", context.usage()).contains("remote"));
    context.record_remote(&cost());
    let shown = format!("{:?}", context.usage());
    assert!(shown.contains("remote: RemoteUsage { calls: 1, unknown: 0, cpu: Some(7ms)"), "{shown}");
}

#[test]
fn the_cost_of_a_handler_is_its_own_and_what_it_has_caused_in_turn() {
    let test = testing::start();
    let handler = LogContext::new("presence.get-1");
    let cost_of = test.current_thread().block_on(
        async {
            burn(BURST);
            current_context().record_db_transaction(millis(3));
            current_context().record_remote(&cost());
            // The slice that is open counts.
            RemoteUsage::of(&current_context().usage())
        }
        .in_context(handler.clone()),
    );
    assert_eq!((cost_of.calls, cost_of.unknown, cost_of.db_txn_count), (2, 0, 3));
    assert_eq!((cost_of.db_txn_duration, cost_of.db_wait()), (millis(8), Some(millis(1))));
    if let Some(own) = handler.usage().cpu() {
        let cpu = cost_of.cpu().unwrap();
        assert!(cpu >= millis(7) + Duration::from_nanos(BURST * 9 / 10), "{cpu:?}");
        assert!(cpu <= millis(7) + own, "{cpu:?}");
    }
}

#[test]
fn what_many_threads_record_at_once_is_all_there_and_sums_do_not_begin_anew() {
    let test = testing::start();
    let request = test.supervisor().context("GET-1").kind(ContextKind::Request).label("GET /").start();
    const ROUNDS: u64 = 2_000;
    std::thread::scope(|threads| {
        for _ in 0..4 {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            threads.spawn(|| {
                for _ in 0..ROUNDS {
                    let part = request.nested("part");
                    part.record_remote(&RemoteUsage::call().with_cpu(Duration::from_nanos(3)));
                }
            });
        }
    });
    let remote = request.usage().remote();
    assert_eq!((remote.calls, remote.cpu()), (4 * ROUNDS, Some(Duration::from_nanos(12 * ROUNDS))));
    let mut lie = cost().with_cpu(Duration::MAX);
    lie.unknown = u64::MAX;
    request.record_remote(&lie);
    let most = Duration::from_nanos(u64::MAX);
    request.record_remote(&(cost() + RemoteUsage::unknown()));
    let remote = request.usage().remote();
    assert_eq!((remote.unknown, remote.cpu()), (u64::MAX, Some(most)));
    drop(request);
    let remote = test.supervisor().totals()[0].usage.remote();
    assert_eq!((remote.unknown, remote.cpu()), (u64::MAX, Some(most)));
}

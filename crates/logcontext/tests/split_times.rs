//! Work that was done for several: its times are split among them, and the books never notice.
mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{BURST, OnDrop, burn};
use logcontext::testing::{self, Test};
use logcontext::{ContextKind, Counter, LogContext, RemoteUsage, ResourceUsage, books, current_context};

static ROWS: Counter = Counter::new("split_rows");

const fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

fn shared(test: &Test) -> LogContext {
    let ctx = test.supervisor().context("lookup-1").start();
    ctx.charge_cpu(nanos(3_002));
    ctx.record_db_transaction(nanos(302));
    ctx.record_db_wait(nanos(32));
    ctx.record_db_acquire(nanos(5));
    ctx.add(&ROWS, 7);
    let remote = RemoteUsage::call().with_cpu(nanos(32)).with_db_wait(nanos(2));
    ctx.record_remote(&remote.with_db_txns(1, nanos(3)));
    ctx
}

fn times(usage: &ResourceUsage) -> (Option<Duration>, Duration, Duration) {
    (usage.cpu(), usage.db_txn_duration, usage.db_acquire)
}

#[test]
fn the_odd_nanoseconds_go_to_the_first_and_counts_stay() {
    let test = testing::start();
    let ctx = shared(&test);
    let payers = ["GET-1", "GET-2", "GET-3"].map(LogContext::new);
    let cpu = |n| ctx.usage().cpu().map(|_| nanos(n));
    assert!(ctx.split_times(&payers));
    let [a, b, c] = payers.each_ref().map(LogContext::usage);
    assert_eq!(times(&a), (cpu(1_002), nanos(102), nanos(3)));
    assert_eq!(times(&b), (cpu(1_000), nanos(100), nanos(1)));
    assert_eq!(times(&c), times(&b));
    assert_eq!((a.db_wait(), a.db_txn_count, a.counter(&ROWS)), (None, 0, 0));
    let rest = ctx.usage();
    assert_eq!(times(&rest), (cpu(0), nanos(0), nanos(0)));
    assert_eq!((rest.db_txn_count, rest.counter(&ROWS)), (1, 7));
}

#[test]
fn times_that_were_spent_elsewhere_are_split_too_and_calls_stay() {
    let test = testing::start();
    let ctx = shared(&test);
    let payers = ["GET-1", "GET-2", "GET-3"].map(LogContext::new);
    assert!(ctx.split_times(&payers));
    let [a, b, c] = payers.each_ref().map(|payer| payer.usage().remote());
    assert_eq!((a.cpu(), a.db_txn_duration, a.db_wait()), (Some(nanos(12)), nanos(1), Some(nanos(2))));
    assert_eq!((b.cpu(), b.db_txn_duration, b.db_wait()), (Some(nanos(10)), nanos(1), None));
    assert_eq!(c, b);
    assert_eq!((a.calls, a.db_txn_count), (0, 0));
    let rest = ctx.usage().remote();
    assert_eq!(
        (rest.cpu(), rest.db_txn_duration, rest.db_wait()),
        (Some(nanos(0)), nanos(0), Some(nanos(0)))
    );
    assert_eq!((rest.calls, rest.db_txn_count), (1, 1));
}

#[test]
fn who_shares_what_called_nobody_has_called_nobody() {
    let test = testing::start();
    let (ctx, payer) = (test.supervisor().context("lookup").start(), LogContext::new("GET-1"));
    ctx.record_db_transaction(nanos(302));
    assert!(ctx.split_times(std::slice::from_ref(&payer)));
    assert!(payer.usage().remote().is_empty());
}

#[test]
fn a_share_counts_for_the_whole_that_a_payer_is_a_part_of() {
    let test = testing::start();
    let (ctx, request) = (shared(&test), LogContext::new("GET-1"));
    let part = request.nested("part");
    assert!(ctx.split_times(&[LogContext::sentinel(), part.clone()]), "the sentinel pays nothing");
    assert_eq!(part.usage().db_txn_duration, nanos(302));
    assert_eq!(request.usage().db_txn_duration, nanos(302));
}

#[test]
fn nothing_is_taken_where_nobody_pays_or_where_sums_would_shrink() {
    let test = testing::start();
    let (ctx, request) = (shared(&test), LogContext::new("GET-1"));
    let before = ctx.usage();
    assert!(!ctx.split_times(&[]));
    assert!(!ctx.split_times(&[LogContext::sentinel()]));
    assert!(!LogContext::sentinel().split_times(std::slice::from_ref(&request)));
    let part = ctx.nested("part");
    part.record_db_transaction(nanos(1));
    assert!(!part.split_times(std::slice::from_ref(&request)));
    ctx.set_label("lookup");
    assert!(!ctx.split_times(std::slice::from_ref(&request)));
    assert_eq!((ctx.usage() - before).db_txn_duration, nanos(1));
    assert_eq!(request.usage(), ResourceUsage::default());
}

#[test]
fn it_may_be_split_while_it_is_current() {
    let test = testing::start();
    let (ctx, request) = (test.supervisor().context("lookup").start(), LogContext::new("GET-1"));
    let done = ctx.scope(|| {
        burn(BURST);
        current_context().split_times(std::slice::from_ref(&request))
    });
    assert!(done && request.usage().cpu().is_none_or(|cpu| cpu >= nanos(BURST * 9 / 10)));
    assert!(ctx.usage().cpu().is_none_or(|cpu| cpu < nanos(BURST / 2)));
}

#[test]
fn totals_and_books_find_the_times_in_one_place_while_they_are_split() {
    let test = testing::start();
    let request = |name| test.supervisor().context(name).kind(ContextKind::Request).label("GET /").start();
    // Two, so that half of it would show.
    let payers = ["GET-1", "GET-2"].map(request);
    const BIG: Duration = Duration::from_secs(1_000);
    let stop = AtomicBool::new(false);
    let whole = |cpu: Duration| cpu.as_secs() % BIG.as_secs() < 400;
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        threads.spawn(|| {
            while !stop.load(Relaxed) {
                // Charged and split as one step: only the split could be seen half-way.
                let ctx = test.supervisor().context("lookup").start();
                ctx.charge_cpu(BIG);
                assert!(ctx.split_times(&payers));
            }
        });
        // Also when an assertion fails.
        let _stop = OnDrop::new(|| stop.store(true, Relaxed));
        let mut last = Duration::ZERO;
        for _ in 0..300 {
            let totals = test.supervisor().totals();
            let cpu = totals.iter().filter_map(|row| row.usage.cpu()).sum::<Duration>();
            assert!(whole(cpu), "{cpu:?}");
            if let Some(books) = books() {
                let cpu = books.contexts();
                assert!(cpu >= last, "{cpu:?} after {last:?}");
                last = cpu;
            }
        }
    });
}

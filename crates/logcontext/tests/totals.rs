//! Totals by label: everything once, in flight or gone, and never less than before.
mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{BURST, burn};
use logcontext::testing::{self, Test};
use logcontext::{ContextKind, Counter, Ending, LabelTotals, LogContext, Supervisor, measure, measure_sync};

static ROWS: Counter = Counter::new("rows_fetched");
const ENDINGS: [Ending; 4] = [Ending::Ok, Ending::Failed, Ending::Panicked, Ending::Cancelled];

fn row(service: &Supervisor, kind: ContextKind, label: Option<&str>) -> Option<LabelTotals> {
    service.totals().into_iter().find(|row| row.kind == kind && row.label.as_deref() == label)
}

fn request(test: &Test, name: &'static str) -> LogContext {
    test.supervisor().context(name).kind(ContextKind::Request).start()
}

#[test]
fn what_is_in_flight_counts_and_counts_the_same_when_it_is_gone() {
    let test = testing::start();
    let ctx = request(&test, "GET-1");
    ctx.set_label("GET /");
    ctx.record_db_transaction(Duration::from_millis(3));
    ctx.record_db_wait(Duration::from_millis(2));
    ctx.add(&ROWS, 7);
    ctx.charge_cpu(Duration::from_secs(1));
    let read = || row(test.supervisor(), ContextKind::Request, Some("GET /")).unwrap();
    let in_flight = read();
    assert_eq!((in_flight.started, in_flight.in_flight, in_flight.failed), (1, 1, 0));
    let usage = in_flight.usage;
    assert_eq!((usage.db_txn_count, usage.db_txn_duration), (1, Duration::from_millis(3)));
    assert_eq!((usage.db_wait(), usage.counter(&ROWS)), (Some(Duration::from_millis(2)), 7));
    assert!(usage.cpu().is_none_or(|cpu| cpu == Duration::from_secs(1)));

    ctx.finish_as(Ending::Failed);
    let finished = read();
    ctx.charge_cpu(Duration::from_millis(500));
    drop(ctx);
    let gone = read();
    assert_eq!(finished.usage, usage);
    assert_eq!((finished.started, finished.in_flight, finished.failed), (1, 0, 1));
    assert_eq!((gone.started, gone.in_flight, gone.failed), (1, 0, 1));
    assert_eq!((gone.elapsed, gone.after_finish), (finished.elapsed, Duration::from_millis(500)));
    assert_eq!(gone.usage - finished.usage, {
        let more = request(&test, "GET-2");
        more.charge_cpu(Duration::from_millis(500));
        more.usage()
    });
}

fn responses(row: &LabelTotals) -> Vec<u64> {
    let responses: Vec<_> = row.responses().collect();
    assert_eq!(responses.iter().map(|(class, _)| *class).collect::<String>(), "1xx2xx3xx4xx5xx");
    responses.into_iter().map(|(_, n)| n).collect()
}

#[test]
fn answers_are_counted_by_class_once_their_context_has_finished_and_the_last_one_before_that_counts() {
    let test = testing::start();
    let answer = |statuses: &[u16]| {
        let ctx = request(&test, "GET-1");
        ctx.set_label("GET /");
        statuses.iter().for_each(|status| ctx.set_status(*status));
        ctx
    };
    let read = || responses(&row(test.supervisor(), ContextKind::Request, Some("GET /")).unwrap());
    let held: Vec<_> =
        [&[100][..], &[204], &[304], &[404], &[200, 503], &[599], &[200, 99], &[600], &[u16::MAX], &[]]
            .map(answer)
            .into();
    assert_eq!(read(), [0; 5], "none has finished");
    for ctx in &held {
        ctx.finish_as(Ending::Failed);
        ctx.set_status(200);
    }
    assert_eq!(read(), [1, 1, 1, 1, 2]);
    assert_eq!(held[4].ending(), Some(Ending::Failed));
    drop(held);
    assert_eq!(read(), [1, 1, 1, 1, 2], "gone, they count the same");
    drop(answer(&[200]));
    assert_eq!(read(), [1, 2, 1, 1, 2], "dropped, it has finished");
    LogContext::sentinel().set_status(200);
    request(&test, "GET-1").nested("part").set_status(500);
    assert_eq!(read(), [1, 2, 1, 1, 2]);
}

#[test]
fn times_to_the_finish_are_counted_by_how_long_they_were_and_as_many_as_finished() {
    let test = testing::start();
    let held: Vec<_> = ENDINGS.map(|ending| (ending, request(&test, "GET-1"))).into();
    let read = || row(test.supervisor(), ContextKind::Request, Some("GET /"));
    for (finished, (ending, ctx)) in held.iter().enumerate() {
        ctx.set_label("GET /");
        assert_eq!(read().unwrap().durations.count(), finished as u64);
        ctx.finish_as(*ending);
    }
    let finished = read().unwrap();
    assert_eq!((finished.durations.count(), finished.durations.sum), (4, finished.elapsed));
    let longest = held.iter().map(|(_, ctx)| ctx.elapsed()).max().unwrap();
    for (bound, n) in finished.durations.at_most() {
        let within = held.iter().filter(|(_, ctx)| ctx.elapsed() <= Duration::from_secs_f64(bound));
        assert_eq!(n, within.count() as u64, "at most {bound} s, of {longest:?}");
    }
    drop(held);
    let gone = read().unwrap();
    assert!(gone.durations.at_most().eq(finished.durations.at_most()));
    assert_eq!((gone.durations.count(), gone.durations.sum), (4, finished.durations.sum));
}

#[test]
fn endings_are_counted_apart_and_kinds_of_one_label_too() {
    let test = testing::start();
    for (ending, times) in ENDINGS.into_iter().zip(1..) {
        for _ in 0..times {
            test.supervisor().context("import").label("work").start().finish_as(ending);
        }
    }
    request(&test, "GET-1").set_label("work");
    let tasks = row(test.supervisor(), ContextKind::Task, Some("work")).unwrap();
    assert_eq!((tasks.started, tasks.ok, tasks.failed, tasks.panicked, tasks.cancelled), (10, 1, 2, 3, 4));
    assert_eq!(row(test.supervisor(), ContextKind::Request, Some("work")).unwrap().started, 1);
}

#[test]
fn a_label_moves_all_a_context_has_cost_from_the_row_without() {
    let test = testing::start();
    let ctx = request(&test, "GET-1");
    ctx.nested("early").record_db_transaction(Duration::from_millis(1));
    let unlabelled = row(test.supervisor(), ContextKind::Request, None).unwrap();
    assert_eq!((unlabelled.started, unlabelled.usage.db_txn_count), (1, 1));
    assert!(ctx.set_label("GET /"));
    assert!(row(test.supervisor(), ContextKind::Request, None).is_none());
    let labelled = row(test.supervisor(), ContextKind::Request, Some("GET /")).unwrap();
    assert_eq!((labelled.started, labelled.usage.db_txn_count), (1, 1));
    assert!(!ctx.set_label("GET /other"));
    assert!(row(test.supervisor(), ContextKind::Request, Some("GET /other")).is_none());
}

#[test]
fn nested_contexts_are_in_their_roots_row_and_in_none_of_their_own() {
    let test = testing::start();
    let ctx = request(&test, "GET-1");
    ctx.set_label("GET /");
    let part = ctx.nested("lookup");
    part.nested("rows").record_db_transaction(Duration::from_millis(1));
    part.charge_cpu(Duration::from_secs(1));
    part.finish();
    let totals = test.supervisor().totals();
    assert_eq!(totals.len(), 1, "{totals:?}");
    assert_eq!((totals[0].started, totals[0].usage.db_txn_count), (1, 1));
    assert!(totals[0].usage.cpu().is_none_or(|cpu| cpu == Duration::from_secs(1)));
}

#[test]
fn measured_blocks_are_totalled_under_their_name_and_in_their_requests_row() {
    let test = testing::start();
    let ctx = request(&test, "GET-1");
    ctx.set_label("GET /");
    ctx.scope(|| {
        let name = measure_sync("resolve_state", || {
            logcontext::current_context().record_db_transaction(Duration::from_millis(1));
            common::here()
        });
        assert_eq!(name, "GET-1-resolve_state");
        let ready = futures_util::FutureExt::now_or_never(measure("resolve_state", async {
            logcontext::current_context().record_db_transaction(Duration::from_millis(2));
            common::here()
        }));
        assert_eq!(ready.as_deref(), Some("GET-1-resolve_state"));
        let mut left = Box::pin(measure("resolve_state", std::future::pending::<()>()));
        assert!(common::poll_once(left.as_mut()).is_pending());
        drop(left);
        common::panic_message(|| measure_sync("resolve_state", || panic!("oh no")));
        assert_eq!(common::here(), "GET-1");
    });
    let block = row(test.supervisor(), ContextKind::Block, Some("resolve_state")).unwrap();
    assert_eq!((block.started, block.in_flight), (4, 0));
    assert_eq!((block.ok, block.failed, block.panicked, block.cancelled), (2, 0, 1, 1));
    assert_eq!((block.usage.db_txn_count, block.usage.db_txn_duration), (2, Duration::from_millis(3)));
    let whole = row(test.supervisor(), ContextKind::Request, Some("GET /")).unwrap();
    assert_eq!((whole.started, whole.usage.db_txn_count), (1, 2));
}

#[test]
fn a_kind_has_a_thousand_labels_and_the_rest_is_other() {
    let test = testing::start();
    for n in 0..1_005 {
        assert!(request(&test, "GET-1").set_label(&format!("GET /{n}")));
    }
    assert!(request(&test, "GET-1").set_label("GET /7"), "a known one is still itself");
    let labelled = |label: &str| row(test.supervisor(), ContextKind::Request, Some(label));
    assert_eq!(labelled("GET /7").unwrap().started, 2);
    assert_eq!(labelled("other").unwrap().started, 5);
    assert!(labelled("GET /1004").is_none());
    test.supervisor().context("import").label("work").start();
    assert_eq!(
        row(test.supervisor(), ContextKind::Task, Some("work")).unwrap().started,
        1,
        "another kind has room"
    );
}

#[test]
fn an_open_slice_is_shown_apart_and_up_to_now() {
    let test = testing::start();
    let ctx = request(&test, "GET-1");
    ctx.set_label("GET /");
    let both = std::sync::Barrier::new(2);
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        threads.spawn(|| {
            test.thread_start()();
            ctx.nested("lookup").scope(|| {
                burn(BURST);
                both.wait();
                both.wait();
            });
        });
        both.wait();
        let running = row(test.supervisor(), ContextKind::Request, Some("GET /")).unwrap();
        let together = running.usage.cpu().map(|cpu| cpu + running.open_cpu);
        assert!(together.is_none_or(|cpu| cpu.as_nanos() > u128::from(BURST) * 9 / 10), "{running:?}");
        assert!(running.usage.cpu().is_none_or(|cpu| cpu.as_nanos() < u128::from(BURST) / 2), "{running:?}");
        both.wait();
    });
    let done = row(test.supervisor(), ContextKind::Request, Some("GET /")).unwrap();
    assert_eq!(done.open_cpu, Duration::ZERO);
    assert!(done.usage.cpu().is_none_or(|cpu| cpu.as_nanos() > u128::from(BURST) * 9 / 10));
}

/// Every figure that must only grow.
fn growing(row: &LabelTotals) -> Vec<u128> {
    let usage = &row.usage;
    [
        row.started.into(),
        row.ok.into(),
        row.failed.into(),
        row.panicked.into(),
        row.cancelled.into(),
        row.elapsed.as_nanos(),
        row.after_finish.as_nanos(),
        usage.cpu().unwrap_or_default().as_nanos(),
        usage.cpu_system().unwrap_or_default().as_nanos(),
        usage.db_txn_count.into(),
        usage.db_txn_duration.as_nanos(),
        usage.db_wait().unwrap().as_nanos(),
        usage.counter(&ROWS).into(),
    ]
    .into_iter()
    .chain(row.responses().map(|(_, n)| n.into()))
    .chain(row.durations.at_most().map(|(_, n)| n.into()))
    .chain([row.durations.count().into(), row.durations.sum.as_nanos()])
    .collect()
}

#[test]
fn totals_never_go_down_in_a_storm_and_add_up_after_it() {
    const ROUNDS: u64 = 3_000;
    const THREADS: u64 = 3;
    let test = testing::start();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
        let reader = threads.spawn(|| {
            test.thread_start()();
            let mut last: HashMap<_, Vec<u128>> = HashMap::new();
            while !over.load(Relaxed) {
                for row in test.supervisor().totals() {
                    assert_eq!(
                        row.started,
                        row.in_flight + row.ok + row.failed + row.panicked + row.cancelled
                    );
                    assert_eq!(row.durations.count(), row.started - row.in_flight);
                    assert!(row.responses().map(|(_, n)| n).sum::<u64>() <= row.durations.count());
                    let Some(label) = row.label.clone() else { continue };
                    let now = growing(&row);
                    if let Some(before) = last.insert((row.kind, label), now.clone()) {
                        let grows = before.iter().zip(&now).all(|(before, now)| before <= now);
                        assert!(grows, "{row:?} was {before:?}, is {now:?}");
                    }
                }
            }
        });
        let storms: Vec<_> = (0..THREADS)
            .map(|thread| {
                let test = &test;
                #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
                threads.spawn(move || {
                    test.thread_start()();
                    for round in 0..ROUNDS {
                        let ctx = request(test, "GET-1");
                        let part = ctx.nested("part");
                        part.record_db_transaction(Duration::from_nanos(5));
                        part.add(&ROWS, 2);
                        ctx.set_label(["GET /a", "GET /b", "GET /c"][(round % 3) as usize]);
                        part.scope(|| measure_sync("block", || ctx.record_db_wait(Duration::from_nanos(3))));
                        ctx.set_status([200, 404][(round % 2) as usize]);
                        if round % 2 == thread % 2 {
                            ctx.finish_as(ENDINGS[(round % 4) as usize]);
                        }
                        part.charge_cpu(Duration::from_nanos(1_000));
                        drop(ctx);
                        drop(part);
                    }
                })
            })
            .collect();
        storms.into_iter().for_each(|storm| storm.join().unwrap());
        over.store(true, Relaxed);
        reader.join().unwrap();
    });
    let all = THREADS * ROUNDS;
    for label in ["GET /a", "GET /b", "GET /c"] {
        let row = row(test.supervisor(), ContextKind::Request, Some(label)).unwrap();
        assert_eq!((row.started, row.in_flight), (all / 3, 0));
        assert_eq!(row.responses().map(|(_, n)| n).collect::<Vec<_>>(), [0, all / 6, 0, all / 6, 0]);
        assert_eq!((row.usage.db_txn_count, row.usage.counter(&ROWS)), (all / 3, 2 * all / 3));
        assert_eq!(row.usage.db_wait(), Some(Duration::from_nanos(all)));
        assert!(row.usage.cpu().is_none_or(|cpu| cpu >= Duration::from_nanos(all / 3 * 1_000)));
    }
    assert_eq!(row(test.supervisor(), ContextKind::Block, Some("block")).unwrap().ok, all);
    assert!(row(test.supervisor(), ContextKind::Request, None).is_none());
}

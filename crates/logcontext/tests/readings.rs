//! Who reads totals, books and lists stops nobody, and finds everything once while others go on.
mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{OnDrop, thread};
use logcontext::testing;
use logcontext::{ContextKind, LogContext, Supervisor, books};

fn request(service: &Supervisor, label: &str) -> LogContext {
    service.context("GET-1").kind(ContextKind::Request).label(label).start()
}

#[test]
fn shared_costs_are_found_once_by_all_who_read_while_contexts_come_and_go() {
    const ROUNDS: u64 = 2_000;
    const SHARED: Duration = Duration::from_nanos(3_000);
    let test = testing::start();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let work: Vec<_> = (0..3)
            .map(|_| {
                thread(&test, threads, || {
                    for round in 0..ROUNDS {
                        let lookup = test.supervisor().context("lookup").start();
                        let payers = ["GET /a", "GET /b", "GET /a"].map(|l| request(test.supervisor(), l));
                        lookup.charge_cpu(SHARED);
                        lookup.record_db_transaction(SHARED);
                        assert!(lookup.split_times(&payers));
                        lookup.set_label("lookup");
                        if round % 2 == 0 {
                            payers[0].set_status(200);
                            payers[0].finish();
                        }
                        // Some go after those that were made later.
                        drop(lookup);
                    }
                })
            })
            .collect();
        let _over = OnDrop::new(|| over.store(true, Relaxed));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                thread(&test, threads, || {
                    let mut last: HashMap<_, [u128; 4]> = HashMap::new();
                    let mut last_cpu = Duration::ZERO;
                    while !over.load(Relaxed) {
                        for row in test.supervisor().totals() {
                            assert_eq!(row.started, row.in_flight + row.durations.count());
                            let Some(label) = row.label else { continue };
                            let now = [
                                row.started.into(),
                                row.durations.count().into(),
                                row.usage.db_txn_duration.as_nanos(),
                                row.usage.cpu().unwrap_or_default().as_nanos(),
                            ];
                            let before = last.insert((row.kind, label), now).unwrap_or_default();
                            assert!(
                                before.iter().zip(&now).all(|(old, new)| old <= new),
                                "{before:?} {now:?}"
                            );
                        }
                        if let Some(books) = books() {
                            assert!(
                                books.contexts() >= last_cpu,
                                "{:?} after {last_cpu:?}",
                                books.contexts()
                            );
                            last_cpu = books.contexts();
                        }
                        assert!(test.supervisor().contexts().len() <= 12);
                    }
                })
            })
            .collect();
        work.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, Relaxed);
        readers.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let totals = test.supervisor().totals();
    let of = |label: &str| totals.iter().find(|row| row.label.as_deref() == Some(label)).unwrap();
    let rounds = 3 * u32::try_from(ROUNDS).unwrap();
    assert_eq!((of("GET /a").started, of("GET /b").started), (2 * 3 * ROUNDS, 3 * ROUNDS));
    assert_eq!(of("GET /a").usage.db_txn_duration, SHARED * rounds * 2 / 3);
    assert_eq!(of("GET /b").usage.db_txn_duration, SHARED * rounds / 3);
    assert_eq!(of("lookup").usage.db_txn_duration, Duration::ZERO);
    assert_eq!(of("lookup").usage.db_txn_count, 3 * ROUNDS);
    assert_eq!(of("GET /a").responses().map(|(_, n)| n).sum::<u64>(), 3 * ROUNDS / 2);
    assert!(test.supervisor().contexts().is_empty());
}

#[test]
fn all_contexts_are_listed_once_however_many_there_are() {
    let test = testing::start();
    let held: Vec<Vec<LogContext>> = std::thread::scope(|threads| {
        let make = |n| {
            thread(&test, threads, move || (0..n).map(|_| request(&Supervisor::current(), "x")).collect())
        };
        let made: Vec<_> = [1, 31, 32, 33, 500].into_iter().map(make).collect();
        made.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let names = |contexts: &[LogContext]| contexts.iter().map(LogContext::name).collect::<String>().len();
    let mut listed = test.supervisor().contexts();
    assert_eq!((listed.len(), names(&listed)), (597, 597 * 5));
    for context in held.iter().flatten() {
        let at = listed.iter().position(|listed| listed == context).expect("listed");
        listed.swap_remove(at);
    }
    assert!(listed.is_empty());
    drop(held);
    assert!(test.supervisor().contexts().is_empty());
}

#[test]
fn an_open_slice_counts_for_all_that_its_context_is_a_part_of() {
    let test = testing::start();
    let both = std::sync::Barrier::new(2);
    let ctx = request(test.supervisor(), "GET /");
    std::thread::scope(|threads| {
        let burning = thread(&test, threads, || {
            let whole = ctx.clone();
            whole.scope(|| {
                logcontext::measure_sync("outer", || {
                    logcontext::measure_sync("inner", || {
                        // A slice of its own, which is open for as long as the other thread reads.
                        logcontext::current_context().nested("part").scope(|| {
                            common::burn(common::BURST);
                            both.wait();
                            both.wait();
                        });
                    });
                });
            });
        });
        both.wait();
        let totals = test.supervisor().totals();
        both.wait();
        burning.join().unwrap();
        let open =
            |label: &str| totals.iter().find(|row| row.label.as_deref() == Some(label)).unwrap().open_cpu;
        if books().is_some() {
            let half = Duration::from_nanos(common::BURST / 2);
            assert!(open("GET /") > half, "{totals:?}");
            assert_eq!((open("outer"), open("inner")), (open("GET /"), open("GET /")));
        }
    });
}

#[cfg(feature = "tokio")]
#[test]
fn all_that_runs_is_listed_once_however_much_there_is() {
    use logcontext::{FutureExt, background};
    common::on_both(|runtime, test| {
        let service = test.supervisor().clone();
        let startup = service.context("startup").start();
        let body = async move {
            let process = || background::run("wait", std::future::pending::<()>());
            let mut running: Vec<_> = (0..100).map(|_| process()).collect();
            running.drain(20..50).for_each(|process| process.abort());
            while service.running().len() > 70 {
                tokio::task::yield_now().await;
            }
            let mut listed: Vec<String> =
                service.running().iter().map(|running| running.context.name().to_owned()).collect();
            listed.sort_unstable();
            let mut expected: Vec<String> =
                running.iter().map(|process| process.context().name().to_owned()).collect();
            expected.sort_unstable();
            assert_eq!(listed, expected);
            assert!(service.running().iter().all(|running| &*running.name == "wait"));
            let shutdown = service.shutdown(Duration::ZERO).await;
            assert_eq!(shutdown.aborted.len(), 70);
        };
        common::run(runtime, body.in_context(startup));
    });
}

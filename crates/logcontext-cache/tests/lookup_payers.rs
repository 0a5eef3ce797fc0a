//! Who pays for a lookup: the first caller and who comes after, all in equal parts, or the cache.
mod support;

use std::time::Duration;

use logcontext::{
    ContextKind, Counter, FutureExt, LogContext, ResourceUsage, Supervisor, books, current_context,
};
use logcontext_cache::{CachedLookup, ChargeTo};
use support::{BURST, Desk, assert_bursts, burn, here, on_both, outcome, run, settle, spawn, until};
use tokio::sync::mpsc;

static ROWS: Counter = Counter::new("rows_fetched");

/// A lookup in steps: at each it burns a burst, records a transaction and a row, and tells where it is.
struct Steps {
    step: mpsc::UnboundedSender<Step>,
    at: mpsc::UnboundedReceiver<String>,
    cache: CachedLookup<u32, u32, String>,
}

enum Step {
    Work,
    End(Result<u32, String>),
}

fn steps(builder: logcontext_cache::LookupBuilder) -> Steps {
    let (step, steps) = mpsc::unbounded_channel::<Step>();
    let (tell, at) = mpsc::unbounded_channel();
    let steps = std::sync::Arc::new(tokio::sync::Mutex::new(steps));
    let cache = builder.build(move |_: u32| {
        let (steps, tell) = (steps.clone(), tell.clone());
        async move {
            let mut steps = steps.lock().await;
            tell.send(here()).unwrap();
            loop {
                match steps.recv().await {
                    Some(Step::Work) => {
                        // A poll that begins after the step was asked for: who pays is settled at its beginning.
                        tokio::task::yield_now().await;
                        burn(BURST);
                        current_context().record_db_transaction(Duration::from_nanos(3_001));
                        current_context().record_db_wait(Duration::from_nanos(100));
                        current_context().add(&ROWS, 1);
                        tell.send(here()).unwrap();
                    }
                    Some(Step::End(result)) => return result,
                    None => return Err("the test has ended".to_owned()),
                }
            }
        }
    });
    Steps { step, at, cache }
}

impl Steps {
    async fn work(&mut self) -> String {
        self.step.send(Step::Work).ok().unwrap();
        self.at.recv().await.unwrap()
    }

    fn ask(&self, caller: &LogContext) -> logcontext::Background<Vec<Result<u32, String>>> {
        let cache = self.cache.clone();
        spawn(
            caller,
            async move { cache.get(7).await.map(|value| *value).map_err(|error| error.to_string()) },
        )
    }
}

fn row(supervisor: &Supervisor, label: &str) -> (u64, ResourceUsage) {
    let totals = supervisor.totals();
    let row = totals.into_iter().find(|row| row.label.as_deref() == Some(label)).unwrap();
    (row.started, row.usage)
}

#[test]
fn the_first_caller_pays_for_all_of_it_and_the_others_for_nothing() {
    on_both(|runtime, _| {
        run(runtime, async {
            let mut steps = steps(CachedLookup::builder("profiles"));
            let [first, second] = ["GET-1", "GET-2"].map(LogContext::new);
            let asking = [&first, &second].map(|caller| steps.ask(caller));
            let place = steps.at.recv().await.unwrap();
            settle().await;
            for _ in 0..2 {
                assert_eq!(steps.work().await, place);
            }
            steps.step.send(Step::End(Ok(70))).ok().unwrap();
            for asking in asking {
                assert_eq!(outcome(asking).await, Ok(70));
            }
            // Which of them came first is the executor's choice.
            let (payer, other) =
                if place == "GET-1-profiles" { (&first, &second) } else { (&second, &first) };
            assert_eq!(place, format!("{payer}-profiles"));
            assert_bursts(payer, 2.0);
            assert_bursts(other, 0.0);
            let usage = payer.usage();
            assert_eq!((usage.db_txn_count, usage.counter(&ROWS)), (2, 2), "once, not twice");
            assert_eq!(usage.db_txn_duration, Duration::from_nanos(6_002));
            assert_eq!(other.usage().db_txn_count, 0);
        });
    });
}

#[test]
fn the_lookup_is_a_part_of_its_payer_with_its_request_and_label() {
    on_both(|runtime, _| {
        run(runtime, async {
            let cache = CachedLookup::builder("profiles").build(|_: u32| async {
                let context = current_context();
                let label = context.label().map(str::to_owned);
                Ok::<_, ()>((context.kind(), context.parent().name().to_owned(), label))
            });
            let request = LogContext::builder("GET-1").label("GET /").start();
            let found = cache.get(1).in_context(request).await.unwrap();
            assert_eq!(*found, (ContextKind::Nested, "GET-1".to_owned(), Some("GET /".into())));
        });
    });
}

#[test]
fn when_the_payer_leaves_the_next_waiter_pays_from_then_on() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let mut steps = steps(CachedLookup::builder("profiles"));
            let [first, second, third] = ["GET-1", "GET-2", "GET-3"].map(LogContext::new);
            let going = steps.ask(&first);
            assert_eq!(steps.at.recv().await.unwrap(), "GET-1-profiles");
            assert_eq!(steps.work().await, "GET-1-profiles");
            let next = steps.ask(&second);
            settle().await;
            until(|| !next.is_finished()).await;
            let last = steps.ask(&third);
            settle().await;
            assert_eq!(steps.work().await, "GET-1-profiles", "whoever comes, the first pays");
            going.abort();
            assert!(going.await.is_err());
            // A request that is over is not entered late by what it had begun.
            first.finish();
            assert_eq!(steps.work().await, "GET-2-profiles");
            steps.step.send(Step::End(Ok(70))).ok().unwrap();
            assert_eq!((outcome(next).await, outcome(last).await), (Ok(70), Ok(70)));
            for (payer, bursts) in [(&first, 2), (&second, 1), (&third, 0)] {
                assert_bursts(payer, bursts as f64);
                assert_eq!(payer.usage().db_txn_count, bursts);
            }
            let (_, cache) = row(&supervisor, "lookup_profiles");
            assert_eq!(cache.db_txn_count, 0, "nothing is charged twice");
        });
    });
}

#[test]
fn one_who_waits_but_does_not_pay_may_leave_without_changing_who_does() {
    on_both(|runtime, _| {
        run(runtime, async {
            let mut steps = steps(CachedLookup::builder("profiles"));
            let [first, second] = ["GET-1", "GET-2"].map(LogContext::new);
            let staying = steps.ask(&first);
            steps.at.recv().await.unwrap();
            let going = steps.ask(&second);
            settle().await;
            going.abort();
            assert!(going.await.is_err());
            assert_eq!(steps.work().await, "GET-1-profiles");
            steps.step.send(Step::End(Ok(70))).ok().unwrap();
            assert_eq!(outcome(staying).await, Ok(70));
        });
    });
}

#[test]
fn a_lookup_that_goes_on_alone_is_the_caches_until_someone_comes() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let mut steps = steps(CachedLookup::builder("profiles").finish_unattended());
            let [first, second] = ["GET-1", "GET-2"].map(LogContext::new);
            let going = steps.ask(&first);
            steps.at.recv().await.unwrap();
            going.abort();
            assert!(going.await.is_err());
            assert_eq!(steps.work().await, "lookup_profiles-0");
            let staying = steps.ask(&second);
            settle().await;
            until(|| supervisor.contexts().iter().any(|context| context.name() == "GET-2-profiles")).await;
            assert_eq!(steps.work().await, "GET-2-profiles");
            steps.step.send(Step::End(Ok(70))).ok().unwrap();
            assert_eq!(outcome(staying).await, Ok(70));
            assert_bursts(&first, 0.0);
            assert_bursts(&second, 1.0);
            assert_eq!(row(&supervisor, "lookup_profiles").1.db_txn_count, 1);
        });
    });
}

#[test]
fn callers_in_no_context_pay_nothing_the_next_one_or_the_cache_does() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let mut steps = steps(CachedLookup::builder("profiles"));
            let mut nobody = Box::pin(steps.cache.get(7));
            assert!(futures_util::poll!(nobody.as_mut()).is_pending());
            assert_eq!(steps.at.recv().await.unwrap(), "lookup_profiles-0");
            let step = steps.step.clone();
            step.send(Step::Work).ok().unwrap();
            assert_eq!(steps.at.recv().await.unwrap(), "lookup_profiles-0");
            let request = LogContext::new("GET-1");
            let cache = steps.cache.clone();
            let mut somebody = Box::pin(async move { cache.get(7).await }.in_context(request.clone()));
            assert!(futures_util::poll!(somebody.as_mut()).is_pending());
            step.send(Step::Work).ok().unwrap();
            assert_eq!(steps.at.recv().await.unwrap(), "GET-1-profiles");
            step.send(Step::End(Ok(70))).ok().unwrap();
            assert_eq!((*nobody.await.unwrap(), *somebody.await.unwrap()), (70, 70));
            assert_eq!(request.usage().db_txn_count, 1);
            assert_eq!(row(&supervisor, "lookup_profiles").1.db_txn_count, 1);
        });
    });
}

#[test]
fn shared_times_are_split_in_equal_parts_and_counts_stay_with_the_cache() {
    for result in [Ok(70), Err("no".to_owned())] {
        on_both(|runtime, test| {
            let (supervisor, result) = (test.supervisor().clone(), result.clone());
            run(runtime, async move {
                let mut steps = steps(CachedLookup::builder("profiles").charge_to(ChargeTo::Shared));
                let [first, second, gone] = ["GET-1", "GET-2", "GET-3"].map(LogContext::new);
                let going = steps.ask(&gone);
                assert_eq!(steps.at.recv().await.unwrap(), "lookup_profiles-0");
                let asking = steps.ask(&first);
                settle().await;
                until(|| !asking.is_finished()).await;
                let other = steps.ask(&second);
                settle().await;
                assert_eq!(steps.work().await, "lookup_profiles-0");
                going.abort();
                assert!(going.await.is_err());
                assert_eq!(steps.work().await, "lookup_profiles-0");
                steps.step.send(Step::End(result.clone())).ok().unwrap();
                assert_eq!((outcome(asking).await, outcome(other).await), (result.clone(), result));

                assert_bursts(&first, 1.0);
                assert_bursts(&second, 1.0);
                assert_bursts(&gone, 0.0);
                let durations = [&first, &second].map(|caller| caller.usage().db_txn_duration.as_nanos());
                assert_eq!(durations, [3_001, 3_001]);
                assert_eq!(first.usage().db_wait(), Some(Duration::from_nanos(100)));
                assert_eq!((first.usage().db_txn_count, first.usage().counter(&ROWS)), (0, 0));
                let (_, cache) = row(&supervisor, "lookup_profiles");
                assert_eq!((cache.db_txn_count, cache.counter(&ROWS)), (2, 2));
                assert_eq!(cache.db_txn_duration, Duration::ZERO, "charged once");
                assert!(cache.cpu().is_none_or(|cpu| cpu < Duration::from_nanos(BURST / 2)), "{cache:?}");
            });
        });
    }
}

#[test]
fn the_odd_nanoseconds_go_to_the_first_who_waits() {
    on_both(|runtime, _| {
        run(runtime, async {
            let mut steps = steps(CachedLookup::builder("profiles").charge_to(ChargeTo::Shared));
            let callers = ["GET-1", "GET-2"].map(LogContext::new);
            let mut asking = Vec::new();
            for caller in &callers {
                let cache = steps.cache.clone();
                let mut asked = Box::pin(async move { cache.get(7).await }.in_context(caller.clone()));
                assert!(futures_util::poll!(asked.as_mut()).is_pending());
                asking.push(asked);
            }
            steps.at.recv().await.unwrap();
            steps.work().await;
            steps.step.send(Step::End(Ok(70))).ok().unwrap();
            for asking in asking {
                asking.await.unwrap();
            }
            let durations = callers.each_ref().map(|caller| caller.usage().db_txn_duration.as_nanos());
            assert_eq!(durations, [1_501, 1_500]);
        });
    });
}

#[test]
fn what_was_shared_with_nobody_in_the_end_is_the_caches() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let mut steps = steps(CachedLookup::builder("profiles").charge_to(ChargeTo::Shared));
            let caller = LogContext::new("GET-1");
            let going = steps.ask(&caller);
            steps.at.recv().await.unwrap();
            steps.work().await;
            going.abort();
            assert!(going.await.is_err());
            until(|| supervisor.running().is_empty()).await;
            assert_bursts(&caller, 0.0);
            let (_, cache) = row(&supervisor, "lookup_profiles");
            assert_eq!((cache.db_txn_count, cache.db_txn_duration), (1, Duration::from_nanos(3_001)));
            assert!(cache.cpu().is_none_or(|cpu| cpu > Duration::from_nanos(BURST * 9 / 10)));
        });
    });
}

#[test]
fn the_cache_pays_in_a_context_of_its_own_if_told_to() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            let mut steps = steps(CachedLookup::builder("profiles").charge_to(ChargeTo::Cache));
            let callers = ["GET-1", "GET-2"].map(LogContext::new);
            let asking = callers.each_ref().map(|caller| steps.ask(caller));
            assert_eq!(steps.at.recv().await.unwrap(), "lookup_profiles-0");
            settle().await;
            assert_eq!(steps.work().await, "lookup_profiles-0");
            steps.step.send(Step::End(Ok(70))).ok().unwrap();
            for (asking, caller) in asking.into_iter().zip(&callers) {
                assert_eq!(outcome(asking).await, Ok(70));
                assert_bursts(caller, 0.0);
                assert_eq!(caller.usage().db_txn_count, 0);
            }
            let (_, cache) = row(&supervisor, "lookup_profiles");
            assert_eq!((cache.db_txn_count, cache.counter(&ROWS)), (1, 1));
            assert!(cache.cpu().is_none_or(|cpu| cpu > Duration::from_nanos(BURST * 9 / 10)));
        });
    });
}

#[test]
fn what_a_cancelled_lookup_drops_is_dropped_in_its_last_payers_context() {
    on_both(|runtime, test| {
        let supervisor = test.supervisor().clone();
        run(runtime, async move {
            struct Dropped(mpsc::UnboundedSender<String>);
            impl Drop for Dropped {
                fn drop(&mut self) {
                    let _ = self.0.send(here());
                }
            }
            let (tell, mut told) = mpsc::unbounded_channel();
            let cache = CachedLookup::builder("profiles").build(move |_: u32| {
                let held = Dropped(tell.clone());
                async move {
                    let _held = held;
                    std::future::pending::<Result<u32, ()>>().await
                }
            });
            let caller = LogContext::new("GET-1");
            let going = {
                let cache = cache.clone();
                spawn(&caller, async move { cache.get(7).await.is_ok() })
            };
            until(|| supervisor.running().len() == 2).await;
            settle().await;
            going.abort();
            assert!(going.await.is_err());
            caller.finish();
            assert_eq!(told.recv().await.unwrap(), "GET-1-profiles");
        });
    });
}

#[test]
fn the_books_are_in_order_after_lookups_of_all_sorts() {
    for charge_to in [ChargeTo::FirstCaller, ChargeTo::Shared, ChargeTo::Cache] {
        on_both(|runtime, _| {
            run(runtime, async move {
                let cache =
                    CachedLookup::builder("profiles").charge_to(charge_to).build(|key: u32| async move {
                        burn(BURST / 4);
                        tokio::task::yield_now().await;
                        if key.is_multiple_of(3) { Err("no") } else { Ok(key) }
                    });
                let asking: Vec<_> = (0..40)
                    .map(|n| {
                        let cache = cache.clone();
                        spawn(
                            &LogContext::new(format!("GET-{n}")),
                            async move { cache.get(n / 4).await.is_ok() },
                        )
                    })
                    .collect();
                for (n, asking) in asking.into_iter().enumerate() {
                    if n % 5 == 0 {
                        asking.abort();
                    } else {
                        assert_eq!(outcome(asking).await, n / 4 % 3 != 0);
                    }
                }
            });
            if let Some(books) = books() {
                let parts = books.contexts() + books.sentinel() + books.meter() + books.open();
                let known = books.known_threads_cpu();
                assert!(parts.abs_diff(known) * 50 <= known, "{books}");
            }
        });
    }
}

#[test]
fn a_desk_is_asked_once_however_many_payers_there_were() {
    on_both(|runtime, _| {
        run(runtime, async {
            let mut desk = Desk::<Result<u32, ()>>::new();
            let cache = CachedLookup::builder("profiles").build(desk.lookup());
            let mut waiting = Vec::new();
            for n in 0..100 {
                let cache = cache.clone();
                let context = LogContext::new(format!("GET-{n}"));
                let mut asked = Box::pin(async move { cache.get(7).await }.in_context(context));
                assert!(futures_util::poll!(asked.as_mut()).is_pending());
                waiting.push(asked);
            }
            let asked = desk.next().await;
            let last = waiting.pop().unwrap();
            // Each of them has paid for a moment.
            waiting.into_iter().for_each(drop);
            asked.answer.send(Ok(70)).unwrap();
            assert_eq!(*last.await.unwrap(), 70);
            desk.assert_idle();
        });
    });
}

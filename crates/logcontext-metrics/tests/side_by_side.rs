//! Scrapes beside each other, and beside what they read.

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use logcontext::{ContextKind, Ending, FutureExt as _, testing};
use logcontext_cache::CachedLookup;
use logcontext_metrics::{Exporter, Format};
use support::{Exposition, Sample, begin, gauge, on_both, register, scrape};

/// All that must not go down: counters, and what a histogram is made of.
fn counted(found: &Exposition) -> HashMap<String, f64> {
    let families = found.families.iter().filter(|family| family.kind != "gauge");
    let samples = families.flat_map(|family| &family.samples);
    samples.map(|sample| (format!("{}{:?}", sample.name, sample.labels), sample.value)).collect()
}

/// What is said about contexts is of one reading.
fn is_one_set(found: &Exposition) {
    for Sample { labels, value, .. } in found.samples("logcontext_request_duration_seconds_count") {
        let label = [("label", &*labels["label"])];
        let finished = found.sum("logcontext_requests_total", &label);
        let started = found.get("logcontext_requests_started_total", &label).unwrap();
        let in_flight = found.get("logcontext_requests_in_flight", &label).unwrap();
        assert_eq!(*value, finished, "of {label:?}");
        assert_eq!(started, finished + in_flight, "of {label:?}");
        assert_eq!(found.sum("logcontext_responses_total", &label), finished, "of {label:?}");
    }
}

#[test]
fn nothing_goes_down_and_each_scrape_is_one_set_while_requests_come_and_go() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let go_on = AtomicBool::new(true);
    let adopt = test.thread_start();
    let endings = [Ending::Ok, Ending::Failed, Ending::Cancelled];
    std::thread::scope(|threads| {
        for number in 0..2_usize {
            let (test, go_on, adopt) = (&test, &go_on, &adopt);
            #[expect(clippy::disallowed_methods, reason = "a thread that makes requests of its own")]
            threads.spawn(move || {
                adopt();
                let mut held = Vec::new();
                for turn in (number..).take_while(|_| go_on.load(Relaxed)) {
                    let request = begin(test, ContextKind::Request, ["GET /a", "GET /b"][turn % 2]);
                    request.set_status(200);
                    request.record_db_wait(Duration::from_micros(3));
                    // Some end at once, some later; some are held after they have ended.
                    if turn % 5 == 0 {
                        request.finish_as(endings[turn % 3]);
                    }
                    held.push(request);
                    if held.len() > 40 {
                        for request in held.drain(..) {
                            request.finish_as(endings[turn % 3]);
                        }
                    }
                }
            });
        }
        let scrapers: Vec<_> = [Format::Prometheus, Format::OpenMetrics]
            .map(|format| {
                let (exporter, adopt) = (&exporter, &adopt);
                #[expect(clippy::disallowed_methods, reason = "a scraper of its own")]
                threads.spawn(move || {
                    adopt();
                    let mut before = HashMap::new();
                    for _ in 0..100 {
                        let found = scrape(exporter, format);
                        is_one_set(&found);
                        let now = counted(&found);
                        for (series, value) in &before {
                            assert!(
                                now.get(series) >= Some(value),
                                "{series}: {value}, then {:?}",
                                now.get(series)
                            );
                        }
                        before = now;
                    }
                })
            })
            .into();
        let results: Vec<_> = scrapers.into_iter().map(|scraper| scraper.join()).collect();
        go_on.store(false, Relaxed);
        for result in results {
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let found = scrape(&exporter, Format::Prometheus);
    is_one_set(&found);
    assert_eq!(found.sum("logcontext_requests_in_flight", &[]), 0.0);
}

#[test]
fn nothing_goes_down_while_the_costs_of_shared_lookups_move_to_who_waited() {
    on_both(|runtime, test| {
        let exporter = Exporter::new(test.supervisor());
        let (go_on, adopt) = (AtomicBool::new(true), test.thread_start());
        let find = |key: u64| async move {
            for _ in 0..3 {
                black_box((0..2_000_u64).map(black_box).sum::<u64>());
                tokio::task::yield_now().await;
            }
            Ok::<_, Arc<str>>(key)
        };
        let startup = test.supervisor().context("startup").start();
        let lookup = startup.scope(|| CachedLookup::builder("profiles").capacity(10).build(find));
        std::thread::scope(|threads| {
            #[expect(clippy::disallowed_methods, reason = "a scraper of its own")]
            let scraper = threads.spawn(|| {
                adopt();
                let mut before = HashMap::new();
                loop {
                    let is_last = !go_on.load(Relaxed);
                    let now = counted(&scrape(&exporter, Format::OpenMetrics));
                    for (series, value) in &before {
                        assert!(
                            now.get(series) >= Some(value),
                            "{series}: {value}, then {:?}",
                            now.get(series)
                        );
                    }
                    if is_last {
                        return now.len();
                    }
                    before = now;
                }
            });
            runtime.block_on(async {
                for key in 0..500 {
                    let requests = ["GET /a", "GET /b"].map(|label| begin(test, ContextKind::Request, label));
                    let [a, b] = requests.clone().map(|request| lookup.get(key).in_context(request));
                    let (a, b) = tokio::join!(a, b);
                    assert_eq!((*a.unwrap(), *b.unwrap()), (key, key));
                    for request in requests {
                        request.finish();
                    }
                }
            });
            go_on.store(false, Relaxed);
            let series = scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert!(series > 0, "somebody has scraped");
        });
        startup.finish();
    });
}

#[test]
fn a_scrape_that_waits_for_a_source_keeps_neither_others_nor_requests_from_going_on() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (may_go_on, first) = (std::sync::Mutex::new(may_go_on), AtomicBool::new(true));
    let source = register(&test, &[gauge("slow")], move |out| {
        if first.swap(false, Relaxed) {
            begun.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
        out.value("slow", &[], 1.0);
    });
    let adopt = test.thread_start();
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "a scraper of its own")]
        let waiting = threads.spawn(|| {
            adopt();
            scrape(&exporter, Format::Prometheus)
        });
        has_begun.recv().unwrap();
        begin(&test, ContextKind::Request, "GET /a").finish();
        let label = [("label", "GET /a")];
        let found = scrape(&exporter, Format::Prometheus);
        assert_eq!(found.get("logcontext_requests_started_total", &label), Some(1.0));
        assert_eq!(found.get("slow", &[]), Some(1.0));
        go_on.send(()).unwrap();
        let found = waiting.join().unwrap();
        assert_eq!(
            found.get("logcontext_requests_started_total", &label),
            Some(1.0),
            "current when it is read"
        );
    });
    drop(source);
}

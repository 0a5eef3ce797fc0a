//! What an exposition says of sources, and of those that say nonsense.

mod support;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use logcontext::source::{Collector, Figure, Histogram, Source};
use logcontext::testing::{self, Test};
use logcontext_metrics::{Exporter, Format};
use support::{FORMATS, counter, gauge, histogram, register, scrape};

fn faults(test: &Test, exporter: &Exporter, fault: &str) -> f64 {
    let found = scrape(exporter, Format::Prometheus);
    let records = test.records().iter().filter(|record| record.field("fault") == Some(fault)).count();
    let count = found.get("logcontext_metrics_source_faults_total", &[("fault", fault)]).unwrap();
    assert_eq!(records as f64, count, "each is logged once");
    count
}

#[test]
fn sources_with_the_same_figures_share_a_family() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let caches = ["profiles", "rooms"].map(|cache| {
        register(&test, &[counter("cache_hits"), gauge("cache_size")], move |out| {
            out.value("cache_hits", &[("cache", cache)], 3.0);
            out.value("cache_size", &[("cache", cache)], 0.5);
        })
    });
    for format in FORMATS {
        let found = scrape(&exporter, format);
        for cache in ["profiles", "rooms"] {
            assert_eq!(found.get("cache_hits_total", &[("cache", cache)]), Some(3.0));
            assert_eq!(found.get("cache_size", &[("cache", cache)]), Some(0.5));
        }
        assert_eq!(found.families.iter().filter(|family| family.name.starts_with("cache_")).count(), 2);
    }
    drop(caches);
    assert_eq!(
        scrape(&exporter, Format::Prometheus).samples("cache_size").count(),
        0,
        "gone with its source"
    );
}

#[test]
fn a_histogram_is_as_it_was_observed() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let times = Arc::new(Histogram::seconds());
    let read = Arc::clone(&times);
    let _source = register(&test, &[histogram("lookup_seconds")], move |out| {
        out.histogram("lookup_seconds", &[("cache", "a")], &read.read());
    });
    for millis in [1, 30, 3_600_000] {
        times.observe(Duration::from_millis(millis));
    }
    for format in FORMATS {
        let found = scrape(&exporter, format);
        let one = if format == Format::OpenMetrics { "1.0" } else { "1" };
        assert_eq!(found.get("lookup_seconds_bucket", &[("cache", "a"), ("le", one)]), Some(2.0));
        assert_eq!(found.get("lookup_seconds_bucket", &[("cache", "a"), ("le", "+Inf")]), Some(3.0));
        assert_eq!(found.get("lookup_seconds_sum", &[("cache", "a")]), Some(3_600.031));
    }
}

#[test]
fn nonsense_is_left_out_and_counted_once_and_the_rest_is_there() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let buckets = Histogram::seconds();
    let source = register(
        &test,
        &[counter("fine"), gauge("level"), histogram("times"), counter("Bad-Name"), counter("twice_total")],
        move |out| {
            out.value("fine", &[("n", "1")], 1.0);
            // Each of these is wrong, in its way.
            out.value("Bad-Name", &[], 1.0);
            out.value("twice_total", &[], 1.0);
            out.value("never_described", &[], 1.0);
            out.value("times", &[], 1.0);
            out.histogram("level", &[], &buckets.read());
            out.value("fine", &[("n", "2")], -1.0);
            out.value("fine", &[("n", "3")], f64::NAN);
            out.value("level", &[("n", "1")], f64::INFINITY);
            out.value("fine", &[("le", "1")], 1.0);
            out.value("fine", &[("a b", "1")], 1.0);
            out.value("fine", &[("a", "1"), ("a", "2")], 1.0);
            out.value("fine", &[("n", "1")], 7.0);
            out.value("level", &[("n", "2")], -2.5);
        },
    );
    for _ in 0..3 {
        for format in FORMATS {
            let found = scrape(&exporter, format);
            assert_eq!(found.samples("fine_total").count(), 1);
            assert_eq!(found.get("fine_total", &[("n", "1")]), Some(1.0));
            assert_eq!(found.samples("level").count(), 1);
            assert_eq!(found.get("level", &[("n", "2")]), Some(-2.5));
            let names = found.names().join(" ");
            for absent in ["Bad-Name", "twice", "never_described"] {
                assert!(!names.contains(absent), "{absent}");
            }
        }
    }
    for fault in ["name", "kind", "labels", "value", "duplicate"] {
        assert_eq!(faults(&test, &exporter, fault), 1.0, "{fault}");
    }
    assert_eq!(faults(&test, &exporter, "panicked"), 0.0);
    drop(source);
}

#[test]
fn a_source_that_panics_is_left_out_and_the_scrape_goes_on() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let bad = register(&test, &[counter("bad")], move |out| {
        counted.fetch_add(1, Relaxed);
        out.value("bad", &[], 1.0);
        panic!("on purpose");
    });
    let good = register(&test, &[counter("good")], |out| out.value("good", &[], 1.0));
    for _ in 0..2 {
        let found = scrape(&exporter, Format::OpenMetrics);
        assert_eq!(found.get("good_total", &[]), Some(1.0));
        assert_eq!(found.get("bad_total", &[]), None);
    }
    assert_eq!(faults(&test, &exporter, "panicked"), 1.0);
    assert_eq!(calls.load(Relaxed), 1, "each time would be a report of a panic");
    drop((bad, good));
}

#[test]
fn figures_of_one_name_and_two_kinds_are_those_of_the_first() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let first = register(&test, &[counter("jobs")], |out| out.value("jobs", &[("q", "a")], 1.0));
    let second = register(&test, &[gauge("jobs")], |out| out.value("jobs", &[("q", "b")], 1.0));
    let found = scrape(&exporter, Format::OpenMetrics);
    assert_eq!(found.samples("jobs_total").count(), 1);
    assert_eq!(found.samples("jobs").count(), 0);
    assert_eq!(faults(&test, &exporter, "kind"), 1.0);
    drop((first, second));
}

#[test]
fn a_counter_of_a_source_never_goes_down_while_the_source_lives() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let value = Arc::new(AtomicU64::new(5));
    let make = |value: &Arc<AtomicU64>| {
        let value = Arc::clone(value);
        register(&test, &[counter("n"), gauge("g")], move |out| {
            out.value("n", &[], value.load(Relaxed) as f64);
            out.value("g", &[], value.load(Relaxed) as f64);
        })
    };
    let shown = || {
        let found = scrape(&exporter, Format::Prometheus);
        (found.get("n_total", &[]).unwrap(), found.get("g", &[]).unwrap())
    };
    let first = make(&value);
    let mut seen = Vec::new();
    for now in [5, 3, 4, 6] {
        value.store(now, Relaxed);
        seen.push(shown());
    }
    assert_eq!(seen, [(5.0, 5.0), (5.0, 3.0), (5.0, 4.0), (6.0, 6.0)]);
    // One that comes after it counts anew, which every scraper knows how to read.
    drop(first);
    value.store(1, Relaxed);
    let second = make(&value);
    assert_eq!(shown(), (1.0, 1.0));
    drop(second);
}

#[test]
fn series_beyond_the_limit_are_summed_and_those_within_stay() {
    let test = testing::start();
    let exporter = Exporter::builder(test.supervisor()).label_limit(2).build();
    let names = Arc::new(Mutex::new(vec!["b"]));
    let said = Arc::clone(&names);
    let times = Histogram::seconds();
    times.observe(Duration::from_millis(1));
    let source = register(&test, &[counter("n"), histogram("t")], move |out| {
        for name in said.lock().unwrap().iter() {
            out.value("n", &[("q", name), ("x", "y")], 1.0);
            out.histogram("t", &[("q", name)], &times.read());
        }
        out.value("n", &[("q", "other"), ("x", "other")], 1.0);
    });
    scrape(&exporter, Format::Prometheus);
    *names.lock().unwrap() = vec!["a", "d", "c", "b"];
    for _ in 0..2 {
        let found = scrape(&exporter, Format::OpenMetrics);
        let n = |q, x| found.get("n_total", &[("q", q), ("x", x)]);
        assert_eq!([n("b", "y"), n("a", "y"), n("d", "y")], [Some(1.0), Some(1.0), None]);
        assert_eq!(n("other", "other"), Some(3.0));
        let t = |q| found.get("t_count", &[("q", q)]);
        assert_eq!([t("b"), t("a"), t("other")], [Some(1.0), Some(1.0), Some(2.0)]);
    }
    // Fewer than there were: what was counted is not taken back.
    *names.lock().unwrap() = vec!["b"];
    let found = scrape(&exporter, Format::OpenMetrics);
    assert_eq!(found.get("n_total", &[("q", "other"), ("x", "other")]), Some(3.0));
    drop(source);
}

#[test]
fn a_source_that_is_gone_makes_room() {
    let test = testing::start();
    let exporter = Exporter::builder(test.supervisor()).label_limit(1).build();
    let make =
        |name: &'static str| register(&test, &[counter("n")], move |out| out.value("n", &[("q", name)], 1.0));
    let shown = || -> Vec<String> {
        scrape(&exporter, Format::Prometheus)
            .samples("n_total")
            .map(|sample| sample.labels["q"].clone())
            .collect()
    };
    let first = make("a");
    let second = make("b");
    assert_eq!(shown(), ["a", "other"]);
    drop(first);
    assert_eq!(shown(), ["b"]);
    drop(second);
}

/// One that is dropped in the middle of a scrape, and one that is added by another.
struct Nested(Mutex<Option<Arc<dyn Source>>>);

impl Source for Nested {
    fn describe(&self) -> &[Figure] {
        const { &[gauge("nested")] }
    }

    fn collect(&self, out: &mut dyn Collector) {
        out.value("nested", &[], 1.0);
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn sources_may_come_and_go_while_others_are_read() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let goes = register(&test, &[gauge("goes")], |out| out.value("goes", &[], 1.0));
    let nested: Arc<dyn Source> = Arc::new(Nested(Mutex::new(Some(goes))));
    test.supervisor().register(&nested);
    assert_eq!(
        scrape(&exporter, Format::Prometheus).get("goes", &[]),
        Some(1.0),
        "it was there when it began"
    );
    let found = scrape(&exporter, Format::Prometheus);
    assert_eq!((found.get("goes", &[]), found.get("nested", &[])), (None, Some(1.0)));
}

#[test]
fn a_source_that_scrapes_itself_does_not_stop_for_ever() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let (inner, once) = (exporter.clone(), AtomicBool::new(false));
    let source = register(&test, &[gauge("length")], move |out| {
        if !once.swap(true, Relaxed) {
            out.value("length", &[], inner.render(Format::Prometheus).len() as f64);
        }
    });
    assert!(scrape(&exporter, Format::Prometheus).get("length", &[]) > Some(1_000.0));
    drop(source);
}

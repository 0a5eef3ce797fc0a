//! Whatever labels and numbers there are, a strict reader gets them back.

mod support;

use logcontext::ContextKind;
use logcontext::source::Histogram;
use logcontext::testing;
use logcontext_metrics::Exporter;
use proptest::prelude::*;
use std::time::Duration;
use support::{FORMATS, begin, counter, gauge, histogram, register, scrape};

/// Text of all sorts, and much of what needs escaping.
fn text() -> impl Strategy<Value = String> {
    let special =
        prop::sample::select(vec!["\\", "\"", "\n", "\\n", "{", "}", ",", "=", " ", "#", "é", "\u{1f600}"]);
    prop_oneof![
        prop::collection::vec(prop_oneof![special.prop_map(str::to_owned), any::<String>()], 0..6)
            .prop_map(|parts| parts.concat()),
        Just(String::new()),
    ]
}

/// As it is shown: control characters, for which there is no escape, as pictures.
fn shown(text: &str) -> String {
    let show = |c: char| match c {
        '\n' => '\n',
        '\u{7f}' => '␡',
        c if u32::from(c) < 0x20 => char::from_u32(0x2400 + u32::from(c)).unwrap(),
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(show).collect()
}

proptest! {
    #[test]
    fn labels_and_numbers_are_read_back(
        labels in prop::collection::btree_map("[a-zA-Z][a-zA-Z0-9_]{0,5}", text(), 0..4),
        level in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO | prop::num::f64::NEGATIVE,
        count in prop_oneof![(0_u64..1 << 53).prop_map(|n| n as f64), 0.0..f64::MAX],
        times in prop::collection::vec(0_u64..100_000_000_000, 0..20),
    ) {
        let test = testing::start();
        let exporter = Exporter::new(test.supervisor());
        let names: Vec<(&'static str, String)> =
            labels.iter().filter(|(name, _)| *name != "le").map(|(name, value)| (&*name.clone().leak(), value.clone())).collect();
        let histo = Histogram::seconds();
        times.iter().for_each(|nanos| histo.observe(Duration::from_nanos(*nanos)));
        let said = names.clone();
        let buckets = histo.read();
        let source = register(&test, &[counter("n"), gauge("level"), histogram("times_seconds")], move |out| {
            let labels: Vec<(&'static str, &str)> = said.iter().map(|(name, value)| (*name, &**value)).collect();
            out.value("n", &labels, count);
            out.value("level", &labels, level);
            out.histogram("times_seconds", &labels, &buckets);
        });
        for format in FORMATS {
            let found = scrape(&exporter, format);
            let values: Vec<String> = names.iter().map(|(_, value)| shown(value)).collect();
            let labels: Vec<(&str, &str)> =
                names.iter().zip(&values).map(|((name, _), value)| (*name, &**value)).collect();
            prop_assert_eq!(found.get("n_total", &labels), Some(count));
            prop_assert_eq!(found.get("level", &labels), Some(level));
            prop_assert_eq!(found.get("times_seconds_count", &labels), Some(times.len() as f64));
            let nanos: u64 = times.iter().sum();
            let sum = found.sample("times_seconds_sum", &labels).unwrap();
            prop_assert_eq!(digits(&sum.text), u128::from(nanos), "no digit is lost: {}", sum.text);
        }
        drop(source);
    }

    #[test]
    fn labels_of_contexts_are_read_back(label in text()) {
        let test = testing::start();
        let exporter = Exporter::new(test.supervisor());
        begin(&test, ContextKind::Request, &label).finish();
        for format in FORMATS {
            let found = scrape(&exporter, format);
            let label = [("label", &*shown(&label))];
            prop_assert_eq!(found.get("logcontext_requests_started_total", &label), Some(1.0));
        }
    }
}

/// Seconds with up to nine decimals, in nanoseconds.
fn digits(text: &str) -> u128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<9}").parse().unwrap()
}

#[test]
fn labels_that_look_alike_once_they_are_shown_are_one_series() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    for label in ["a\u{1}", "a␁"] {
        begin(&test, ContextKind::Request, label).finish();
    }
    for format in FORMATS {
        let found = scrape(&exporter, format);
        assert_eq!(found.get("logcontext_requests_started_total", &[("label", "a␁")]), Some(2.0));
    }
}

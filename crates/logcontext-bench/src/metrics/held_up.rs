//! How long somebody who makes and ends contexts is held up while others scrape, beside how long without that.

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use logcontext::{ContextKind, Supervisor};
use logcontext_metrics::{Exporter, Format};
use serde_json::{Map, Value, json};

use super::live;
use crate::Effort;
use crate::cpu::{leave_that_processor, share_one_processor};
use crate::report::{Report, rounded};
use crate::stats::Samples;

/// Pairs of windows, one with scrapes and one without
const PAIRS: usize = 100;
const WINDOW: Duration = Duration::from_millis(50);
/// Longer ones are looked at: was it us who were waited for, or did the system let others run?
const LONG: Duration = Duration::from_micros(20);

pub(super) fn method() -> Value {
    json!({
        "what": "a context is made with a label and ended again, over and over; the longest of a window, in microseconds",
        "windows": "in turn: another thread scrapes all the time, or works as long on something of its own",
        "window_ms": WINDOW.as_millis(),
        "longest": "the median of the windows, and the longest of all",
        "left_out": "times in which the system took the processor away (involuntary switches of the thread)",
    })
}

/// What one window had, in microseconds
#[derive(Default)]
struct Window {
    longest: f64,
    /// Left out, as the system let others run
    preempted: u32,
    made: u64,
}

pub(super) fn run(report: &mut Report, effort: Effort) {
    report.section("Held up, in microseconds");
    for count in [10_000, 100_000] {
        let service = Supervisor::new("bench");
        let contexts = live(&service, count);
        let exporter = Exporter::new(&service);
        let (mut with, mut without) = (Samples::default(), Samples::default());
        let (mut preempted, mut made) = (0, 0);
        for _ in 0..effort.of(PAIRS) {
            let scrapes = window(&service, || drop(black_box(exporter.render(Format::Prometheus))));
            let idle = window(&service, || assert!((0..10_000_u64).map(black_box).sum::<u64>() > 0));
            with.push(scrapes.longest);
            without.push(idle.longest);
            preempted += scrapes.preempted + idle.preempted;
            made += scrapes.made + idle.made;
        }
        report.line(&format!("longest beside scrapes, {count} live"), with.spread(), None);
        report.line(&format!("longest without, {count} live"), without.spread(), None);
        report.note(&format!("{made} contexts made, {preempted} left out"));
        let both = |samples: &Samples| {
            let spread = samples.spread();
            json!({"median_us": rounded(spread.median), "longest_us": rounded(spread.max)})
        };
        let mut found = Map::new();
        found.insert("beside_scrapes".to_owned(), both(&with));
        found.insert("without".to_owned(), both(&without));
        found.insert("left_out".to_owned(), preempted.into());
        report.put(&format!("held_up_at_{count}"), Value::Object(found));
        drop(contexts);
    }
}

/// Makes contexts on one processor, while another thread does this on another.
fn window(service: &Supervisor, other: impl Fn() + Sync) -> Window {
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "a thread that scrapes, or does not")]
        threads.spawn(|| {
            leave_that_processor();
            while !over.load(Relaxed) {
                other();
            }
        });
        #[expect(clippy::disallowed_methods, reason = "a thread with a processor of its own")]
        let made = threads.spawn(|| {
            share_one_processor();
            let window = make_contexts(service);
            over.store(true, Relaxed);
            window
        });
        made.join().unwrap_or_default()
    })
}

fn make_contexts(service: &Supervisor) -> Window {
    let mut window = Window::default();
    let start = Instant::now();
    let mut switches = involuntary_switches();
    let mut last = Instant::now();
    while last.duration_since(start) < WINDOW {
        service.context("GET-1").kind(ContextKind::Request).label("GET /bench/1").start().finish();
        let now = Instant::now();
        let took = now.duration_since(last);
        window.made += 1;
        last = now;
        let micros = took.as_nanos() as f64 / 1e3;
        if micros > window.longest {
            let is_long = took > LONG;
            let after = if is_long { involuntary_switches() } else { switches };
            if after == switches {
                window.longest = micros;
            } else {
                window.preempted += 1;
            }
            switches = after;
            if is_long {
                last = Instant::now();
            }
        }
    }
    window
}

/// How often the system took the processor away from this thread; 0 where it does not say.
fn involuntary_switches() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

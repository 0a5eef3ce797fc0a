//! What the tests of expositions share.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]

mod parse;
pub mod queries;
pub mod service;
mod strict;

pub use parse::{Exposition, Family, Sample};

use std::sync::Arc;

use logcontext::source::{Buckets, Collector, Figure, FigureKind, Histogram, Source};
use logcontext::testing::{self, Test};
use logcontext::{ContextKind, LogContext};
use logcontext_metrics::{Exporter, Format};
use tokio::runtime::Runtime;

pub const FORMATS: [Format; 2] = [Format::Prometheus, Format::OpenMetrics];

/// One scrape, read strictly.
#[track_caller]
pub fn scrape(exporter: &Exporter, format: Format) -> Exposition {
    let text = exporter.render(format);
    Exposition::parse(&text, format).unwrap_or_else(|error| panic!("{format:?}: {error}\n{text}"))
}

/// The test on a current-thread runtime and on one with two workers, each with a guard of its own.
pub fn on_both(f: impl Fn(&Runtime, &Test)) {
    {
        let test = testing::start();
        f(&test.current_thread(), &test);
    }
    let test = testing::start();
    f(&test.multi_thread(2), &test);
}

/// A context of this kind under the test's supervisor, that has not finished.
pub fn begin(test: &Test, kind: ContextKind, label: &str) -> LogContext {
    test.supervisor().context(label).kind(kind).label(label).start()
}

/// A source that says what it is told to.
pub struct Says<F>(pub Vec<Figure>, pub F);

impl<F: Fn(&mut dyn Collector) + Send + Sync> Source for Says<F> {
    fn describe(&self) -> &[Figure] {
        &self.0
    }

    fn collect(&self, out: &mut dyn Collector) {
        (self.1)(out);
    }
}

/// Registers it; it is a source for as long as this is held.
pub fn register<F>(test: &Test, figures: &[Figure], says: F) -> Arc<dyn Source>
where
    F: Fn(&mut dyn Collector) + Send + Sync + 'static,
{
    let source: Arc<dyn Source> = Arc::new(Says(figures.to_vec(), says));
    test.supervisor().register(&source);
    source
}

pub const fn counter(name: &'static str) -> Figure {
    Figure { name, help: "A counter.", kind: FigureKind::Counter }
}

pub const fn gauge(name: &'static str) -> Figure {
    Figure { name, help: "A gauge.", kind: FigureKind::Gauge }
}

pub const fn histogram(name: &'static str) -> Figure {
    Figure { name, help: "Times.", kind: FigureKind::Histogram }
}

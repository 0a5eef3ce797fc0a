//! [`Figures`]: what the registered sources say, as rows.
//!
//! A source is other people's code. One that panics is left out, and not asked again: each time would be a report of a
//! panic.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use logcontext::Supervisor;
use logcontext::source::{Buckets, Collector, Source};
use serde::Serialize;

use super::seconds;

/// How many rows are told: who needs more asks for `/metrics`.
const MOST: usize = 5_000;

/// Reads sources, and knows those that have panicked.
#[derive(Default)]
pub(super) struct Figures {
    panicked: Mutex<Vec<Weak<dyn Source>>>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Read {
    figures: Vec<Figure>,
    /// Rows that were left out.
    figures_left_out: usize,
}

/// The value of one figure for these labels.
#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    value: Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Number { value: f64 },
    Spread { count: u64, sum_seconds: f64 },
}

impl Figures {
    pub(super) fn read(&self, supervisor: &Supervisor) -> Read {
        let mut read = Read::default();
        for source in supervisor.sources() {
            if self.has_panicked(&source) {
                continue;
            }
            let before = (read.figures.len(), read.figures_left_out);
            if catch_unwind(AssertUnwindSafe(|| source.collect(&mut read))).is_err() {
                read.figures.truncate(before.0);
                read.figures_left_out = before.1;
                self.lock().push(Arc::downgrade(&source));
            }
        }
        read
    }

    fn has_panicked(&self, source: &Arc<dyn Source>) -> bool {
        let mut panicked = self.lock();
        panicked.retain(|known| known.strong_count() > 0);
        panicked.iter().any(|known| std::ptr::addr_eq(known.as_ptr(), Arc::as_ptr(source)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Source>>> {
        self.panicked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    fn push(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: Value) {
        if self.figures.len() >= MOST {
            self.figures_left_out += 1;
            return;
        }
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.figures.push(Figure { name, labels, value });
    }
}

impl Collector for Read {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        // JSON has no other numbers.
        if value.is_finite() {
            self.push(name, labels, Value::Number { value });
        }
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        let value = Value::Spread { count: buckets.count(), sum_seconds: seconds(buckets.sum) };
        self.push(name, labels, value);
    }
}

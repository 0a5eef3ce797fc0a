//! Figures as whoever scrapes them sees them.

use logcontext::Supervisor;
use logcontext::source::{Buckets, Collector};

struct Find<'a> {
    name: &'a str,
    labels: &'a [(&'a str, &'a str)],
    sum: f64,
}

impl Find<'_> {
    fn add(&mut self, name: &str, labels: &[(&'static str, &str)], value: f64) {
        if name == self.name && self.labels.iter().all(|label| labels.contains(label)) {
            self.sum += value;
        }
    }
}

impl Collector for Find<'_> {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.add(name, labels, value);
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        self.add(name, labels, buckets.count() as f64);
    }
}

/// The sum of this figure over all that have these labels; of a histogram, how much was observed.
pub(crate) fn figure(supervisor: &Supervisor, name: &str, labels: &[(&str, &str)]) -> u64 {
    let mut find = Find { name, labels, sum: 0.0 };
    for source in supervisor.sources() {
        assert!(source.describe().iter().all(|figure| !figure.help.is_empty()));
        source.collect(&mut find);
    }
    find.sum as u64
}

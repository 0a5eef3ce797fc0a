//! Reading figures.

use logcontext::Supervisor;
use logcontext::source::{Buckets, Collector};

type Labels = Vec<(String, String)>;

#[derive(Default)]
pub struct Figures {
    pub values: Vec<(&'static str, Labels, f64)>,
    pub histograms: Vec<(&'static str, Labels, Buckets)>,
}

impl Figures {
    /// Those of all sources now.
    pub fn of(supervisor: &Supervisor) -> Self {
        let mut figures = Self::default();
        for source in supervisor.sources() {
            let described: Vec<_> = source.describe().iter().map(|figure| figure.name).collect();
            let (values, histograms) = (figures.values.len(), figures.histograms.len());
            source.collect(&mut figures);
            let names = figures.values[values..].iter().map(|it| it.0);
            for name in names.chain(figures.histograms[histograms..].iter().map(|it| it.0)) {
                assert!(described.contains(&name), "{name} is not described");
            }
        }
        figures
    }

    /// The sum of the values of this name that have these labels.
    pub fn value(&self, name: &str, with: &[(&str, &str)]) -> f64 {
        let all = self.values.iter().filter(|(found, labels, _)| *found == name && has(labels, with));
        all.map(|(_, _, value)| value).sum()
    }

    pub fn count(&self, name: &str, with: &[(&str, &str)]) -> u64 {
        let all = self.histograms.iter().filter(|(found, labels, _)| *found == name && has(labels, with));
        all.map(|(_, _, buckets)| buckets.count()).sum()
    }
}

fn has(labels: &[(String, String)], with: &[(&str, &str)]) -> bool {
    with.iter().all(|(key, value)| labels.iter().any(|(k, v)| k == key && v == value))
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Collector for Figures {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.values.push((name, owned(labels), value));
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        self.histograms.push((name, owned(labels), buckets.clone()));
    }
}

//! Figures as a metrics page would get them.

use logcontext::Supervisor;
use logcontext::source::{Buckets, Collector};

#[derive(Default)]
pub struct Figures {
    values: Vec<(String, f64)>,
    described: Vec<&'static str>,
}

impl Figures {
    pub fn of(supervisor: &Supervisor) -> Self {
        let mut figures = Self::default();
        for source in supervisor.sources() {
            figures.described.extend(source.describe().iter().map(|figure| figure.name));
            source.collect(&mut figures);
        }
        figures
    }

    /// The one value of `cache_hits,cache=profiles`; for a histogram, how much was observed, and its sum under
    /// `.. sum`.
    #[track_caller]
    pub fn get(&self, key: &str) -> f64 {
        let found: Vec<f64> =
            self.values.iter().filter(|(name, _)| name == key).map(|(_, value)| *value).collect();
        assert_eq!(found.len(), 1, "{key} in {:?}", self.values);
        found[0]
    }

    fn key(&self, name: &'static str, labels: &[(&'static str, &str)]) -> String {
        assert!(self.described.contains(&name), "{name} is not described");
        labels.iter().fold(name.to_owned(), |key, (label, value)| format!("{key},{label}={value}"))
    }
}

impl Collector for Figures {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.values.push((self.key(name, labels), value));
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        let key = self.key(name, labels);
        self.values.push((format!("{key} sum"), buckets.sum.as_secs_f64()));
        self.values.push((key, buckets.count() as f64));
    }
}

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

    /// The value of `cache_hits,cache=profiles`; for a histogram, how much was observed.
    #[track_caller]
    pub fn get(&self, key: &str) -> f64 {
        let found = self.values.iter().find(|(name, _)| name == key);
        let Some((_, value)) = found else { panic!("no {key} in {:?}", self.values) };
        *value
    }

    fn put(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        assert!(self.described.contains(&name), "{name} is not described");
        let key = labels.iter().fold(name.to_owned(), |key, (label, value)| format!("{key},{label}={value}"));
        self.values.push((key, value));
    }
}

impl Collector for Figures {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.put(name, labels, value);
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        self.put(name, labels, buckets.count() as f64);
    }
}

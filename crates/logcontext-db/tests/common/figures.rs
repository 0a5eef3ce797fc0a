//! Figures as a metrics page would get them.

use logcontext::Supervisor;
use logcontext::source::{Buckets, Collector};

use super::Setting;

#[derive(Default)]
pub(crate) struct Figures {
    values: Vec<(String, f64)>,
    counts: Vec<(String, u64)>,
}

impl Figures {
    /// Those of all databases of the test.
    pub(crate) fn now(setting: &Setting<'_>) -> Self {
        Self::of(setting.test.supervisor())
    }

    /// Those of all databases of this supervisor.
    pub(crate) fn of(supervisor: &Supervisor) -> Self {
        let mut figures = Self::default();
        for source in supervisor.sources() {
            source.collect(&mut figures);
        }
        figures
    }

    /// The value of this name, with these labels (`transaction=add,outcome=failed`) among its own.
    pub(crate) fn value(&self, name: &str, labels: &str) -> f64 {
        self.values.iter().filter(|(key, _)| matches(key, name, labels)).map(|(_, value)| value).sum()
    }

    /// How much was observed.
    pub(crate) fn count(&self, name: &str, labels: &str) -> u64 {
        self.counts.iter().filter(|(key, _)| matches(key, name, labels)).map(|(_, count)| count).sum()
    }
}

fn matches(key: &str, name: &str, labels: &str) -> bool {
    let mut parts = key.split(',');
    let all: Vec<&str> = parts.by_ref().collect();
    all[0] == name && labels.split(',').filter(|label| !label.is_empty()).all(|label| all.contains(&label))
}

fn key(name: &str, labels: &[(&'static str, &str)]) -> String {
    labels.iter().fold(name.to_owned(), |key, (label, value)| format!("{key},{label}={value}"))
}

impl Collector for Figures {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.values.push((key(name, labels), value));
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        self.counts.push((key(name, labels), buckets.count()));
    }
}

//! Figures of pools, caches, buses and writers: registered with a supervisor, read by whoever exposes metrics.

/// What kind of figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FigureKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A figure that a source has: described once, collected many times.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name: lower case, with the base unit, such as `log_records_dropped`.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub help: &'static str,
    /// What kind of figure it is.
    pub kind: FigureKind,
}

/// Something with figures to show.
pub trait Source: Send + Sync {
    /// The figures it has.
    fn describe(&self) -> &[Figure];

    /// Gives their values now. Called at each scrape; must not block.
    fn collect(&self, out: &mut dyn Collector);
}

/// Takes the figures.
pub trait Collector {
    /// The value of the figure of this name, for these labels.
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64);
}

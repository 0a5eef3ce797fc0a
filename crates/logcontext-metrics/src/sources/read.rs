//! What one source says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use logcontext::source::{Buckets, Collector, Figure, FigureKind, Source};

use super::check;
use super::faults::Fault;
use crate::encode::{Kind, Spread, push_label};
use crate::own::OTHER;

/// What is left of what it said, and what was wrong with the rest.
#[derive(Default)]
pub(crate) struct Reading {
    pub(super) samples: Vec<Sample>,
    /// With the names of the figures
    pub(super) faults: Vec<(Fault, &'static str)>,
}

/// One series.
pub(super) struct Sample {
    pub(super) figure: Figure,
    pub(super) kind: Kind,
    /// As pairs of names and values, escaped
    pub(super) labels: String,
    /// The same with all values `other`
    pub(super) other: String,
    pub(super) value: Observed,
}

#[derive(Clone, Debug)]
pub(super) enum Observed {
    Number(f64),
    Spread(Spread),
}

impl Reading {
    pub(super) fn of(source: &dyn Source) -> Self {
        // Whatever it was in the middle of is its own; of ours it can only have left out some samples, and all of
        // them are thrown away.
        let read = catch_unwind(AssertUnwindSafe(|| {
            let mut taker = Taker { figures: source.describe(), reading: Self::default() };
            source.collect(&mut taker);
            taker.reading
        }));
        read.unwrap_or_else(|_| Self { faults: vec![(Fault::Panicked, "")], ..Self::default() })
    }
}

struct Taker<'a> {
    figures: &'a [Figure],
    reading: Reading,
}

impl Taker<'_> {
    fn take(
        &mut self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        read: impl FnOnce(Kind) -> Result<Observed, Fault>,
    ) {
        match self.sample(name, labels, read) {
            Ok(sample) => self.reading.samples.push(sample),
            Err(fault) => self.reading.faults.push((fault, name)),
        }
    }

    fn sample(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        read: impl FnOnce(Kind) -> Result<Observed, Fault>,
    ) -> Result<Sample, Fault> {
        let figure = *self.figures.iter().find(|figure| figure.name == name).ok_or(Fault::Name)?;
        if !check::is_figure(name) {
            return Err(Fault::Name);
        }
        if !check::are_labels(labels) {
            return Err(Fault::Labels);
        }
        let kind = match figure.kind {
            FigureKind::Counter => Kind::Counter,
            FigureKind::Gauge => Kind::Gauge,
            FigureKind::Histogram => Kind::Histogram,
            _ => return Err(Fault::Kind),
        };
        let value = read(kind)?;
        let (mut pairs, mut other) = (String::new(), String::new());
        for (name, value) in labels {
            push_label(&mut pairs, name, value);
            push_label(&mut other, name, OTHER);
        }
        Ok(Sample { figure, kind, labels: pairs, other, value })
    }
}

impl Collector for Taker<'_> {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.take(name, labels, |kind| match kind {
            Kind::Histogram => Err(Fault::Kind),
            _ if !value.is_finite() || (kind == Kind::Counter && value < 0.0) => Err(Fault::Value),
            _ => Ok(Observed::Number(value)),
        });
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        self.take(name, labels, |kind| match kind {
            Kind::Histogram => Ok(Observed::Spread(buckets.into())),
            _ => Err(Fault::Kind),
        });
    }
}

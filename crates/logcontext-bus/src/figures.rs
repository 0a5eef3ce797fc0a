//! How figures are named.

use logcontext::source::{Figure, FigureKind};

pub(crate) const fn counter(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Counter }
}

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Gauge }
}

pub(crate) const fn histogram(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Histogram }
}

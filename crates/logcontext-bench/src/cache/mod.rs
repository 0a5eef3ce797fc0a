//! Caches and keyed queues, beside what is used for them otherwise.

mod keyed;

use crate::Effort;
use crate::report::Report;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    keyed::run(report, effort);
}

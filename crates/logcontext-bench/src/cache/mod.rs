//! Caches and keyed queues, beside what is used for them otherwise.

mod hits;
mod keyed;
mod lookups;
mod reaping;

use crate::Effort;
use crate::report::Report;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    // First, because it looks at the process's memory.
    reaping::memory(report);
    hits::run(report, effort);
    lookups::run(report, effort);
    reaping::run(report, effort);
    keyed::run(report, effort);
}

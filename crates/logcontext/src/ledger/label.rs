//! [`LabelTotals`]: what a reader gets.

use std::sync::Arc;
use std::time::Duration;

use super::account::CLASSES;
use super::readings::Row;
use crate::kind::ContextKind;
use crate::source::Buckets;
use crate::usage::ResourceUsage;

/// What all contexts of one label have cost: those that are gone and those that live, each once.
///
/// Every figure but [`in_flight`](Self::in_flight) and [`open_cpu`](Self::open_cpu) only ever grows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LabelTotals {
    /// What kind of context it is a label of.
    pub kind: ContextKind,
    /// The label; `None` for contexts that have none (yet). That row is a gauge: what gets its label goes to
    /// the label's row, with all it has cost.
    pub label: Option<Arc<str>>,
    /// Contexts started.
    pub started: u64,
    /// Of those, how many have not finished.
    pub in_flight: u64,
    /// Of those that finished, how many ended well.
    pub ok: u64,
    /// Ended in an error.
    pub failed: u64,
    /// Ended in a panic.
    pub panicked: u64,
    /// Were dropped, aborted or left by their client before they were done.
    pub cancelled: u64,
    /// What they have cost.
    pub usage: ResourceUsage,
    /// Of their CPU time, what came after they had finished: from followers, or late.
    pub after_finish: Duration,
    /// Time from start to finish, all together.
    pub elapsed: Duration,
    /// The same times, by how long they were: as many as have finished.
    pub durations: Buckets,
    responses: [u64; CLASSES],
    /// CPU time in slices that are open right now, not yet in [`usage`](Self::usage).
    pub open_cpu: Duration,
}

impl LabelTotals {
    /// Of those that finished, how many had answered with a status of each class: see
    /// [`LogContext::set_status`](crate::LogContext::set_status). Those without a status are in none.
    ///
    /// ```
    /// use logcontext::Supervisor;
    ///
    /// let service = Supervisor::new("presence");
    /// let request = service.context("GET-1").label("GET /presence/{user}").start();
    /// request.set_status(404);
    /// request.finish();
    /// let totals = service.totals();
    /// assert_eq!(totals[0].responses().find(|(_, n)| *n > 0), Some(("4xx", 1)));
    /// ```
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(self.responses)
    }

    pub(super) fn new(kind: ContextKind, label: Option<Arc<str>>, row: &Row) -> Self {
        let Row { totals, in_flight, open } = row;
        let [ok, failed, panicked, cancelled] = totals.endings;
        let durations = Buckets::new(totals.durations, totals.elapsed);
        Self {
            kind,
            label,
            started: durations.count() + in_flight,
            in_flight: *in_flight,
            ok,
            failed,
            panicked,
            cancelled,
            usage: totals.usage(),
            after_finish: Duration::from_nanos(totals.after_finish),
            elapsed: durations.sum,
            durations,
            responses: totals.responses,
            open_cpu: Duration::from_nanos(*open),
        }
    }
}

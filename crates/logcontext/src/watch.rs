//! Under `--cfg tokio_unstable`: finds tasks that run in no context, by the line that spawned them.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, Mutex};

use tokio::runtime::Builder;

use crate::meter;
use crate::sync::lock;

thread_local! {
    /// Slices closed on this thread when the poll began.
    static BEFORE: Cell<u64> = const { Cell::new(0) };
    /// Something in this poll said that it is in the sentinel on purpose.
    static MEANT: Cell<bool> = const { Cell::new(false) };
}

/// A combinator found its context current already.
pub(crate) fn meant_it() {
    MEANT.set(true);
}

/// The tasks that were polled in the sentinel, by the line that spawned them: see [`watch_tasks`].
#[derive(Clone, Debug, Default)]
pub struct Strays(Arc<Mutex<HashMap<&'static Location<'static>, u64>>>);

impl Strays {
    /// How many polls of tasks spawned at which line entered no context.
    pub fn polls(&self) -> Vec<(&'static Location<'static>, u64)> {
        let mut polls: Vec<_> = lock(&self.0).iter().map(|(origin, polls)| (*origin, *polls)).collect();
        polls.sort_by_key(|(_, polls)| std::cmp::Reverse(*polls));
        polls
    }
}

/// Counts, on the runtime that is being built, the polls of tasks that enter no context at all. A task that is
/// in the sentinel on purpose says so: `future.in_context(LogContext::sentinel())`.
///
/// It takes the builder's hooks before and after each poll, of which there is one each.
pub fn watch_tasks(builder: &mut Builder) -> Strays {
    let strays = Strays::default();
    let found = strays.clone();
    builder
        .on_before_task_poll(|_| {
            MEANT.set(false);
            BEFORE.set(meter::switches());
        })
        .on_after_task_poll(move |task| {
            if BEFORE.get() == meter::switches() && !MEANT.get() {
                *lock(&found.0).entry(task.spawned_at()).or_default() += 1;
            }
        });
    strays
}

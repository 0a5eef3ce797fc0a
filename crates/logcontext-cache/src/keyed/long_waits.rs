//! Waits that are too long, on the log.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;

use super::shard::Overdue;
use crate::sync::{Mutex, lock};

/// So many lines a minute and queue: a key that is stuck holds up thousands.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct LongWaits(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LongWaits {
    pub(super) fn long_wait<K: Debug>(&self, name: &str, kind: &'static str, overdue: &Overdue<K>) {
        let pass = lock(&self.0).pass(Instant::now());
        let Some(suppressed) = pass else { return };
        tracing::warn!(
            target: "logcontext::cache",
            name,
            kind,
            key = ?overdue.key,
            access = overdue.access.name(),
            waited = ?overdue.waited,
            still_waiting = overdue.held.is_some(),
            waiter = overdue.waiter.name(),
            ahead = overdue.ahead,
            holder = overdue.holder.name(),
            held = overdue.held.as_ref().map(tracing::field::debug),
            suppressed = (suppressed > 0).then_some(suppressed),
            "waits long for a key",
        );
    }
}

impl Window {
    /// May one more be logged? Then answers how many before it were not.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.start.is_none_or(|start| now.saturating_duration_since(start) >= WINDOW) {
            (self.start, self.lines) = (Some(now), 0);
        }
        if self.lines >= LINES {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

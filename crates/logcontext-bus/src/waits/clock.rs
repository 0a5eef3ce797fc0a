//! Time in ticks.

use std::time::Duration;

use tokio::time::Instant;

/// As fine as waits are told apart.
const TICK: Duration = Duration::from_millis(2);

pub(super) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now() }
    }

    /// The first tick that is not before this.
    pub(super) fn tick_after(&self, time: Instant) -> u64 {
        self.millis(time + (TICK - Duration::from_nanos(1)))
    }

    /// The last tick that is not after this.
    pub(super) fn tick_before(&self, time: Instant) -> u64 {
        self.millis(time)
    }

    pub(super) fn time_of(&self, tick: u64) -> Instant {
        self.epoch + Duration::from_nanos(tick * TICK.as_nanos() as u64)
    }

    fn millis(&self, time: Instant) -> u64 {
        (time.saturating_duration_since(self.epoch).as_nanos() / TICK.as_nanos()) as u64
    }
}

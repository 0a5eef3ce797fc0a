//! The broker's clock, as far as it can be told from here.

use std::time::{Duration, Instant};

use redis::Value;

use super::value;

/// What the broker's clock said at some moment here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    here: Instant,
    there: Duration,
}

impl Clock {
    /// As was answered between then and now, in microseconds: somewhere in the middle.
    pub(super) fn read(asked: Instant, answer: &Value) -> Option<Self> {
        let there = Duration::from_micros(value::count(answer)?);
        Some(Self { here: asked + asked.elapsed() / 2, there })
    }

    /// So long ago it was so many milliseconds by the broker's clock. What is still to come is now.
    pub(super) fn since(&self, milliseconds: u64) -> Duration {
        (self.there + self.here.elapsed()).saturating_sub(Duration::from_millis(milliseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_go_by_the_clock_of_the_broker() {
        let clock = Clock::read(Instant::now(), &Value::BulkString(b"5000000".to_vec())).unwrap();
        assert!(clock.since(2_000) >= Duration::from_secs(3));
        assert!(clock.since(2_000) < Duration::from_secs(3_600));
        assert_eq!(clock.since(u64::MAX), Duration::ZERO);
    }
}

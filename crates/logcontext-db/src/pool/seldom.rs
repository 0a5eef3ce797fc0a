//! [`Seldom`]: what would be said too often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between one and the next.
const PERIOD: Duration = Duration::from_secs(60);

/// Says it once a minute at most.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// May it be said now?
    pub(super) fn now(&self) -> bool {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= PERIOD);
        if may {
            *last = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let said =
            [0, 1, 59, 60, 61, 119, 120].map(|seconds| seldom.at(start + Duration::from_secs(seconds)));
        assert_eq!(said, [true, false, false, true, false, false, true]);
    }
}

//! [`Timestamp`]: when something happened, by the clock that the database has too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the start of 1970. Clocks are set, so a later event may have an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// This moment.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(millis(since))
    }

    /// The moment so many milliseconds after the start of 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start of 1970.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// So much earlier.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(millis(time)))
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }

    /// How long before `now` that was; no time at all if the clock was set back meanwhile.
    pub fn ago(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_far_away_do_not_overflow() {
        let now = Timestamp::from_millis(1_000);
        assert_eq!(now.after(Duration::from_secs(1)), Timestamp::from_millis(2_000));
        assert_eq!(now.after(Duration::MAX), Timestamp::from_millis(i64::MAX));
        assert!(now.before(Duration::MAX) < now);
        assert_eq!(now.before(Duration::from_secs(1)).ago(now), Duration::from_secs(1));
        assert_eq!(now.ago(now.before(Duration::from_secs(1))), Duration::ZERO);
        assert!(
            Timestamp::from_millis(i64::MIN).ago(Timestamp::from_millis(i64::MAX)) > Duration::from_secs(1)
        );
    }
}

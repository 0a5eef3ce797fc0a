//! How an outbox is set up.

use std::time::Duration;

use super::OutboxError;

/// How an outbox is set up. All has a default that fits a service of middle size.
///
/// ```
/// use logcontext_bus::OutboxConfig;
/// use std::time::Duration;
///
/// let config = OutboxConfig { poll: Duration::from_millis(20), ..OutboxConfig::default() };
/// assert!(config.check().is_ok());
/// assert!(OutboxConfig { batch: 0, ..OutboxConfig::default() }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// So often the relay looks for what other processes have stored, and whether the lease is free: 100 ms. Of what its
    /// own process stores it is told at once.
    pub poll: Duration,
    /// So long the relay has the lease unless it renews it, which it does every third of that: 10 s. What a process had
    /// that was killed is relayed by another one after this time.
    pub lease: Duration,
    /// So many events are read at once, at most: 500. As many may come twice when a relay is killed.
    pub batch: u16,
    /// So many are on their way to the broker at once, at most, each of another key: 128.
    pub in_flight: u16,
    /// An event that the broker has refused so often is set aside: 10, which takes some 5 s. Times at which the broker
    /// was not there do not count, nor what it says of itself (that its memory is full).
    pub max_refusals: u32,
    /// Older than this no event should get: 30 s. It is warned of once, and said when all are gone.
    pub warn_after: Duration,
    /// So long the relay goes on at a shutdown, to send what is left: 5 s. Less than the deadline of the shutdown, or the
    /// lease is not released.
    pub drain: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            lease: Duration::from_secs(10),
            batch: 500,
            in_flight: 128,
            max_refusals: 10,
            warn_after: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

impl OutboxConfig {
    /// Can it be?
    ///
    /// # Errors
    /// The first thing that cannot, and what was expected.
    pub fn check(&self) -> Result<(), OutboxError> {
        let times = [("poll", self.poll, 1), ("lease", self.lease, 100)];
        for (key, time, least) in times {
            if time < Duration::from_millis(least) {
                return Err(OutboxError::Config(format!("{key} is {time:?}: expected at least {least}ms")));
            }
        }
        if self.lease > MAX_LEASE {
            let lease = self.lease;
            return Err(OutboxError::Config(format!("lease is {lease:?}: expected at most {MAX_LEASE:?}")));
        }
        let counts = [
            ("batch", u32::from(self.batch)),
            ("in_flight", u32::from(self.in_flight)),
            ("max_refusals", self.max_refusals),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => Err(OutboxError::Config(format!("{key} is 0: expected at least 1"))),
            None => Ok(()),
        }
    }
}

/// Nobody wants to wait longer for what a dead process had.
const MAX_LEASE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_said_with_what_was_expected() {
        let default = OutboxConfig::default();
        assert_eq!(default.check().map_err(|error| error.to_string()), Ok(()));
        let wrong = |config: OutboxConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            wrong(OutboxConfig { poll: Duration::ZERO, ..default.clone() }),
            "poll is 0ns: expected at least 1ms"
        );
        assert_eq!(
            wrong(OutboxConfig { lease: Duration::from_millis(99), ..default.clone() }),
            "lease is 99ms: expected at least 100ms"
        );
        assert_eq!(
            wrong(OutboxConfig { lease: Duration::from_secs(7200), ..default.clone() }),
            "lease is 7200s: expected at most 3600s"
        );
        assert_eq!(
            wrong(OutboxConfig { in_flight: 0, ..default.clone() }),
            "in_flight is 0: expected at least 1"
        );
        assert_eq!(
            wrong(OutboxConfig { max_refusals: 0, ..default }),
            "max_refusals is 0: expected at least 1"
        );
    }
}

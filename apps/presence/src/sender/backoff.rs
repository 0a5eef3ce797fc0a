//! How long to wait after a hub could not be told.

use std::time::Duration;

/// Twice as long after each failure, up to a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) limit: Duration,
}

impl Backoff {
    /// The pause after so many failures in a row: by chance a quarter shorter at most, so that those who failed together
    /// do not come back together. No shorter than the hub has asked for, but never longer than the limit.
    pub(super) fn pause(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let whole = self.first.saturating_mul(doubled).min(self.limit);
        let part = whole.mul_f64(1.0 - fastrand::f64() / 4.0);
        part.max(asked.unwrap_or_default()).min(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), limit: Duration::from_secs(3_600) };

    #[test]
    fn pauses_double_up_to_the_limit_whatever_the_chance() {
        for (failures, whole) in
            [(1, 1), (2, 2), (3, 4), (12, 2_048), (13, 3_600), (33, 3_600), (u32::MAX, 3_600)]
        {
            let whole = Duration::from_secs(whole);
            for _ in 0..100 {
                let pause = BACKOFF.pause(failures, None);
                assert!(pause <= whole && pause >= whole * 3 / 4, "{failures}: {pause:?}");
            }
        }
    }

    #[test]
    fn those_who_failed_together_do_not_come_back_together() {
        for failures in [1, 10, 33] {
            let pauses: std::collections::HashSet<_> =
                (0..10).map(|_| BACKOFF.pause(failures, None)).collect();
            assert!(pauses.len() > 1, "{failures}");
        }
    }

    #[test]
    fn a_hub_may_ask_for_more_time_but_not_for_ever() {
        assert_eq!(BACKOFF.pause(1, Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(BACKOFF.pause(1, Some(Duration::MAX)), Duration::from_secs(3_600));
        assert!(BACKOFF.pause(8, Some(Duration::from_secs(1))) >= Duration::from_secs(96));
    }
}

//! How long to wait before the next try to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// Twice as long each time, up to a second; a part of it by chance, so that not all clients of a broker come back at the
/// same moment.
#[derive(Debug)]
pub(in crate::transport) struct Backoff(Duration);

impl Backoff {
    pub(in crate::transport) fn new() -> Self {
        Self(FIRST)
    }

    pub(in crate::transport) fn reset(&mut self) {
        *self = Self::new();
    }

    pub(in crate::transport) fn next(&mut self) -> Duration {
        let wait = self.0.mul_f64(fastrand::f64().mul_add(0.5, 0.5));
        self.0 = (self.0 * 2).min(LAST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_a_second() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] <= FIRST && waits[19] >= LAST / 2);
        assert!(waits.iter().all(|wait| *wait >= FIRST / 2 && *wait <= LAST));
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}

//! The time that entries expire by: tokio's, so that tests which pause it pause the caches.

use std::time::Duration;

use tokio::time::Instant;

/// When something expires that is stored now; `None` if never, as it has no expiry or too long a one.
pub(crate) fn expires_in(expiry: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(expiry?)
}

/// Never: what has no expiry.
pub(crate) const NEVER: u64 = u64::MAX;

/// Nanoseconds since it was made.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        let since = Instant::now().saturating_duration_since(self.start);
        // At every hit, so not by 128 bits; it is enough for 584 years.
        since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(since.subsec_nanos()))
    }

    /// The moment at which something expires that was stored at `now`.
    pub(crate) fn after(now: u64, expiry: Option<Duration>) -> u64 {
        expiry.map_or(NEVER, |expiry| now.saturating_add(nanos(expiry)))
    }

    /// The moment as tokio has it; `None` if it is too far to say.
    pub(crate) fn instant(&self, at: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_nanos(at))
    }
}

/// 584 years are the most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

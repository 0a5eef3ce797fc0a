//! What becomes of an event whose handler fails.

use std::time::Duration;

/// What becomes of an event whose handler fails, after all its [retries](Retry). A panic is a failure like any other; it
/// is always logged.
///
/// The idea is Lightbus's (`on_error`), which knows two of them and hands it to some of its listeners only.
///
/// ```
/// assert_eq!(logcontext_bus::OnError::default(), logcontext_bus::OnError::DeadLetter);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// It is done, as if nothing had happened.
    Ignore,
    /// It is logged, and done.
    AcknowledgeAndLog,
    /// It is logged, and the listener stops. The event is left for others, or for when the listener is started again.
    StopListener,
    /// The same, and the service is [asked to shut down](logcontext::Supervisor::ask_to_shut_down).
    Shutdown,
    /// It is logged, and becomes a [dead letter](crate::Bus::dead_letters): kept to be looked at and tried again.
    #[default]
    DeadLetter,
}

/// How often a handler that has failed is tried again, and when. Meanwhile the event keeps its slot.
///
/// ```
/// use logcontext_bus::Retry;
/// use std::time::Duration;
///
/// let retry = Retry::times(4).backoff(Duration::from_millis(100), Duration::from_millis(500));
/// let pauses: Vec<u128> = (1..=4).map(|n| retry.pause(n).as_millis()).collect();
/// assert_eq!(pauses, [100, 200, 400, 500]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    times: u32,
    from: Duration,
    to: Duration,
}

impl Retry {
    /// Never.
    pub const NEVER: Self = Self::times(0);

    /// So often, after 100 ms, 200 ms, .. up to 10 s.
    #[must_use]
    pub const fn times(times: u32) -> Self {
        Self { times, from: Duration::from_millis(100), to: Duration::from_secs(10) }
    }

    /// After `from`, after twice that, .. up to `to`.
    #[must_use]
    pub const fn backoff(mut self, from: Duration, to: Duration) -> Self {
        self.from = from;
        self.to = to;
        self
    }

    /// The pause before the retry of this number, from 1.
    pub fn pause(&self, number: u32) -> Duration {
        let doubled = number.saturating_sub(1).min(31);
        self.from.saturating_mul(1 << doubled).min(self.to)
    }

    /// The pause after so many tries have failed, if there is one more.
    pub(super) fn after(&self, tries: u32) -> Option<Duration> {
        (tries <= self.times).then(|| self.pause(tries))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::NEVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_retries_and_no_pause_overflows() {
        let retry = Retry::times(2);
        assert_eq!(retry.after(2), Some(Duration::from_millis(200)));
        assert_eq!((retry.after(3), Retry::NEVER.after(1)), (None, None));
        let long = Retry::times(u32::MAX).backoff(Duration::from_secs(3_600), Duration::MAX);
        assert!(long.pause(u32::MAX) > long.pause(30));
    }
}

//! The broker's clock, as far as it can be told from here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the broker's clock said at some moment here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    here: Instant,
    /// Since 1970
    there: Duration,
    /// So far it may be off, either way
    pub(super) error: Duration,
}

/// Clocks drift: so often it is looked at again.
pub(super) const FRESH: Duration = Duration::from_secs(60);

impl Clock {
    /// As the broker has written down between then and now: somewhere in the middle.
    pub(super) fn new(asked: Instant, answered: Instant, there: SystemTime) -> Self {
        let error = answered.saturating_duration_since(asked) / 2;
        Self { here: asked + error, there: since_1970(there), error }
    }

    /// That of this machine.
    pub(super) fn here() -> Self {
        Self::new(Instant::now(), Instant::now(), SystemTime::now())
    }

    /// Now, by the broker's clock, in microseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        micros(self.there + self.here.elapsed())
    }
}

pub(super) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A time as the broker writes it: `2026-11-22T01:49:08.538266283Z`.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    if !(1..=12).contains(&month) || !(1970..10_000).contains(&year) || fraction.len() > 9 {
        return None;
    }
    let nanos: u32 = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    // Years begin in March here, so that the odd day is the last of one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    Some(UNIX_EPOCH + Duration::new(seconds.try_into().ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_broker_writes_them() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("2026-11-22T01:49:08.538266283Z", 1_795_312_148, 538_266_283),
            ("2100-03-01T00:00:00.000000001Z", 4_107_542_400, 1),
        ] {
            assert_eq!(parse(text), Some(UNIX_EPOCH + Duration::new(seconds, nanos)), "{text}");
        }
        for none in
            ["", "now", "0001-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-22T01:49Z", "2026-11-22"]
        {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn now_is_told_from_what_the_broker_has_written_down() {
        let asked = Instant::now();
        let there = UNIX_EPOCH + Duration::from_secs(5_000);
        let clock = Clock::new(asked, asked + Duration::from_millis(20), there);
        assert_eq!(clock.error, Duration::from_millis(10));
        assert!((4_999_000_000..5_600_000_000).contains(&clock.now()), "{}", clock.now());
    }
}

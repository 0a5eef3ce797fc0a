//! How often an event has come to somebody, as it is written down where it came more than once.

use std::fmt;

/// How often an event has come to somebody who did not give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) times: u64,
    /// When the event was stored: another one may have its number, once its stream was lost.
    pub(super) nanos: u64,
}

impl Times {
    /// With this time, by what was written down before. The first time nobody writes down.
    pub(super) fn next(found: Option<Self>, nanos: u64) -> Self {
        let before = found.filter(|found| found.nanos == nanos).map_or(1, |found| found.times);
        Self { times: before.saturating_add(1), nanos }
    }

    /// `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (times, nanos) = text.split_once(' ')?;
        Some(Self { times: times.parse().ok()?, nanos: nanos.parse().ok()? })
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.times, self.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let times = Times { times: 3, nanos: 17 };
        assert_eq!(Times::parse(&times.to_string()), Some(times));
        for none in ["", "3", "3 ", " 17", "3 x", "-1 17", "3 17 9", "99999999999999999999 1"] {
            assert_eq!(Times::parse(none), None, "{none:?}");
        }
    }

    #[test]
    fn each_time_counts_and_those_of_another_event_do_not() {
        assert_eq!(Times::next(None, 17), Times { times: 2, nanos: 17 });
        let given_back = Times { times: 0, nanos: 17 };
        assert_eq!(Times::next(Some(given_back), 17).times, 1);
        assert_eq!(Times::next(Some(Times { times: 5, nanos: 17 }), 17).times, 6);
        assert_eq!(Times::next(Some(Times { times: 5, nanos: 16 }), 17).times, 2);
        assert_eq!(Times::next(Some(Times { times: u64::MAX, nanos: 17 }), 17).times, u64::MAX);
    }
}

//! [`Time`] and [`PositiveTime`]: times for people.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::TextError;
use super::typed_text::typed_text;

/// A time with its units, by [`humantime`]: `30s`, `5m`, `1h 30m`, `7d`.
///
/// ```
/// use logcontext_service::config::Time;
/// use std::time::Duration;
///
/// let time: Time = "1h 30m".parse()?;
/// assert_eq!(Duration::from(time), Duration::from_secs(5_400));
/// assert_eq!(time.to_string(), "1h 30m");
/// assert_eq!("soon".parse::<Time>().unwrap_err().to_string(), "expected a time such as 30s or 5m");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "parse_duration")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    const EXPECTED: &str = "a time such as 30s or 5m";

    /// So many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// What the standard library takes.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl FromStr for Time {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        humantime::parse_duration(text).map(Self).map_err(|_| TextError(Self::EXPECTED))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

typed_text!(Time, "Time", { "type": "string", "x-value-name": "TIME" });

/// A [`Time`] that is more than nothing.
///
/// ```
/// use logcontext_service::config::PositiveTime;
/// use std::time::Duration;
///
/// let time: PositiveTime = "30s".parse()?;
/// assert_eq!(time.get(), Duration::from_secs(30));
/// assert_eq!(
///     "0s".parse::<PositiveTime>().unwrap_err().to_string(),
///     "expected a time of more than nothing such as 30s or 5m"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositiveTime(Duration);

impl PositiveTime {
    const EXPECTED: &str = "a time of more than nothing such as 30s or 5m";

    /// That time; `None` if it is nothing.
    pub const fn new(time: Duration) -> Option<Self> {
        if time.is_zero() { None } else { Some(Self(time)) }
    }

    /// So many seconds, for defaults.
    ///
    /// # Panics
    ///
    /// If that is none; in a constant, the compiler says so.
    pub const fn from_secs(secs: u64) -> Self {
        assert!(secs > 0, "a positive time is more than nothing");
        Self(Duration::from_secs(secs))
    }

    /// So many milliseconds, for defaults.
    ///
    /// # Panics
    ///
    /// If that is none; in a constant, the compiler says so.
    pub const fn from_millis(millis: u64) -> Self {
        assert!(millis > 0, "a positive time is more than nothing");
        Self(Duration::from_millis(millis))
    }

    /// What the standard library takes.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<PositiveTime> for Duration {
    fn from(time: PositiveTime) -> Self {
        time.0
    }
}

impl FromStr for PositiveTime {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let time = humantime::parse_duration(text).ok().and_then(Self::new);
        time.ok_or(TextError(Self::EXPECTED))
    }
}

impl fmt::Display for PositiveTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

typed_text!(PositiveTime, "PositiveTime", { "type": "string", "x-value-name": "TIME" });

//! [`Section`]: a type that reads a section of the configuration.

use std::fmt::Debug;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{Check, Faults};

/// A section of the configuration: a plain serde type, with `#[serde(default, deny_unknown_fields)]`. Its doc comments
/// are the help texts of its keys, its `Default` is what holds if nobody says anything.
///
/// ```
/// use logcontext_service::Section;
/// use logcontext_service::config::{Faults, PositiveTime};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Deserialize, JsonSchema, Serialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct MailSettings {
///     /// How long to wait before the second attempt.
///     first_pause: PositiveTime,
///     /// How long to wait between two attempts at most.
///     longest_pause: PositiveTime,
/// }
///
/// impl Default for MailSettings {
///     fn default() -> Self {
///         Self { first_pause: PositiveTime::from_secs(1), longest_pause: PositiveTime::from_secs(3_600) }
///     }
/// }
///
/// impl Section for MailSettings {
///     fn check(&self, faults: &mut Faults) {
///         if self.longest_pause < self.first_pause {
///             faults.add("longest_pause", format!("no less than first_pause, which is {}", self.first_pause));
///         }
///     }
/// }
///
/// let mut faults = Faults::default();
/// MailSettings { longest_pause: PositiveTime::from_millis(1), ..MailSettings::default() }.check(&mut faults);
/// assert!(!faults.is_empty());
/// ```
pub trait Section:
    Serialize + DeserializeOwned + JsonSchema + Default + Debug + Send + Sync + 'static
{
    /// Adds what is wrong beyond what types say. It is asked when each value by itself is right.
    fn check(&self, faults: &mut Faults) {
        let _ = faults;
    }
}

impl<T: Section> Check for T {
    fn check(&self, faults: &mut Faults) {
        Section::check(self, faults);
    }
}

/// A section without keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Empty {}

impl Section for Empty {}

//! [`HubName`]: which hub.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::user::UserId;

/// The name of a hub: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, as those of users.
///
/// ```
/// use presence::federation::HubName;
///
/// assert_eq!("two".parse::<HubName>().unwrap().as_str(), "two");
/// assert!("Two/".parse::<HubName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubName(Arc<str>);

/// The text is no [`HubName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHubName;

impl HubName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HubName {
    type Err = InvalidHubName;

    fn from_str(text: &str) -> Result<Self, InvalidHubName> {
        text.parse::<UserId>().map(|_| Self(text.into())).map_err(|_| InvalidHubName)
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidHubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the name of a hub: 1 to 64 characters out of a-z, 0-9, '.', '_' and '-'")
    }
}

impl std::error::Error for InvalidHubName {}

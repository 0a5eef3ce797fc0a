//! What users say of themselves for long: [`Profile`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::user::UserId;

/// A name for people to read: 1 to 64 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DisplayName(Arc<str>);

impl DisplayName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DisplayName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if !(1..=64).contains(&text.chars().count()) || text.chars().any(char::is_control) {
            return Err("expected 1 to 64 characters, none of them a control character");
        }
        Ok(Self(text.into()))
    }
}

/// The profile of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What they are called.
    pub display_name: Option<DisplayName>,
    /// Since when they are known.
    pub since: Timestamp,
}

/// A profile as clients see it.
#[derive(Debug, Serialize)]
pub struct View {
    user: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<DisplayName>,
    since: Timestamp,
}

impl Profile {
    /// This profile, as clients see it.
    pub fn view(&self, user: &UserId) -> View {
        View { user: user.clone(), display_name: self.display_name.clone(), since: self.since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_by_characters_not_bytes() {
        for good in ["A", "Ada Lovelace", &"\u{e4}".repeat(64)] {
            assert!(DisplayName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", &"x".repeat(65)] {
            assert!(DisplayName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}

//! What is known of a user: [`Presence`].

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::profile::DisplayName;
use crate::time::Timestamp;
use crate::user::UserId;

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", try_from = "String")]
#[schemars(!try_from)]
pub enum State {
    /// Active just now.
    Online,
    /// Connected, but idle.
    Unavailable,
    /// Gone.
    Offline,
}

impl State {
    /// As clients and the database call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Unavailable => "unavailable",
            Self::Offline => "offline",
        }
    }
}

impl TryFrom<String> for State {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match &*text {
            "online" => Ok(Self::Online),
            "unavailable" => Ok(Self::Unavailable),
            "offline" => Ok(Self::Offline),
            _ => Err("expected `online`, `unavailable` or `offline`"),
        }
    }
}

/// What a user says of themselves: at most 256 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("maxLength" = 256))]
pub struct StatusMessage(Arc<str>);

impl StatusMessage {
    /// The message as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StatusMessage {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.chars().count() > 256 || text.chars().any(char::is_control) {
            return Err("expected at most 256 characters, none of them a control character");
        }
        Ok(Self(text.into()))
    }
}

/// The presence of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whether they are there.
    pub state: State,
    /// What they say.
    pub status_msg: Option<StatusMessage>,
    /// When they last did something.
    pub last_active: Timestamp,
    /// Which of two presences of the user is the newer: each is one more than the one before.
    pub revision: i64,
}

/// What the presence of a user was, from some time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Larger than those of the user's entries before it.
    pub id: i64,
    /// Whether they were there.
    #[serde(rename = "presence")]
    pub state: State,
    /// What they said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<StatusMessage>,
    /// Since when.
    pub at: Timestamp,
}

/// A presence as clients see it.
#[derive(Debug, Serialize)]
pub struct View {
    user: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<DisplayName>,
    presence: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<StatusMessage>,
    /// Milliseconds.
    last_active_ago: u64,
}

impl Presence {
    /// This presence, as clients see it at that time.
    pub fn view(&self, user: &UserId, now: Timestamp) -> View {
        let ago = self.last_active.ago(now).as_millis();
        View {
            user: user.clone(),
            display_name: None,
            presence: self.state,
            status_msg: self.status_msg.clone(),
            last_active_ago: u64::try_from(ago).unwrap_or(u64::MAX),
        }
    }
}

impl View {
    /// With what they are called.
    #[must_use]
    pub fn called(self, display_name: Option<DisplayName>) -> Self {
        Self { display_name, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_called_the_same_everywhere() {
        for state in [State::Online, State::Unavailable, State::Offline] {
            assert_eq!(State::try_from(state.as_str().to_owned()), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn a_status_message_is_bounded_by_characters_not_bytes() {
        assert!(StatusMessage::try_from("ä".repeat(256)).is_ok());
        assert!(StatusMessage::try_from("a".repeat(257)).is_err());
        assert!(StatusMessage::try_from("a\u{1b}[31m".to_owned()).is_err());
    }
}

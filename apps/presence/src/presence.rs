//! What is known of a user: [`Presence`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::user::UserId;

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum State {
    /// Active just now.
    Online,
    /// Connected, but idle.
    Unavailable,
    /// Gone.
    Offline,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
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
    pub last_active: Instant,
}

/// A presence as clients see it.
#[derive(Debug, Serialize)]
pub struct View {
    user: UserId,
    presence: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<StatusMessage>,
    /// Milliseconds.
    last_active_ago: u64,
}

impl Presence {
    /// This presence, as clients see it at that time.
    pub fn view(&self, user: &UserId, now: Instant) -> View {
        let ago = now.saturating_duration_since(self.last_active).as_millis();
        View {
            user: user.clone(),
            presence: self.state,
            status_msg: self.status_msg.clone(),
            last_active_ago: u64::try_from(ago).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_message_is_bounded_by_characters_not_bytes() {
        assert!(StatusMessage::try_from("ä".repeat(256)).is_ok());
        assert!(StatusMessage::try_from("a".repeat(257)).is_err());
        assert!(StatusMessage::try_from("a\u{1b}[31m".to_owned()).is_err());
    }
}

//! What is said on the bus.

use std::borrow::Cow;
use std::fmt;

use logcontext_bus::{Event, Rpc, SchemaSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::federation::FollowsChanged;
use crate::presence::{Presence, State, StatusMessage};
use crate::time::Timestamp;
use crate::user::UserId;

/// Somebody's presence was set, or has timed out. Those of one user are in order.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct PresenceChanged {
    /// Whose.
    pub user: UserId,
    /// Whether they are there.
    pub presence: State,
    /// What they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<StatusMessage>,
    /// When they last did something.
    pub last_active: Timestamp,
    /// Larger than that of any earlier one of the user: who gets two of them in another order knows which is the newer.
    pub revision: i64,
}

impl PresenceChanged {
    /// To this.
    pub fn new(user: UserId, now: Presence) -> Self {
        let Presence { state, status_msg, last_active, revision } = now;
        Self { user, presence: state, status_msg, last_active, revision }
    }

    /// Whose, and what it is now.
    pub fn into_presence(self) -> (UserId, Presence) {
        let Self { user, presence: state, status_msg, last_active, revision } = self;
        (user, Presence { state, status_msg, last_active, revision })
    }
}

/// What somebody's presence is.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Current {
    /// Whether they are there.
    pub presence: State,
    /// What they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<StatusMessage>,
    /// When they last did something.
    pub last_active: Timestamp,
    /// Larger than that of any earlier one of the user.
    pub revision: i64,
}

impl Event for PresenceChanged {
    const NAME: &'static str = "presence.changed";
    const PARTITIONS: u16 = 8;

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.user.as_str()))
    }
}

/// What is somebody's presence?
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct GetPresence {
    /// Whose.
    pub user: UserId,
}

/// Why somebody's presence cannot be told.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GetPresenceError {
    /// Nobody has ever set it.
    UnknownUser,
    /// The service cannot look just now.
    Unavailable,
}

impl Rpc for GetPresence {
    const NAME: &'static str = "presence.get";
    type Response = Current;
    type Error = GetPresenceError;
}

impl From<Presence> for Current {
    fn from(presence: Presence) -> Self {
        let Presence { state, status_msg, last_active, revision } = presence;
        Self { presence: state, status_msg, last_active, revision }
    }
}

impl fmt::Display for GetPresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownUser => "nothing is known of this user; expected one whose presence was set",
            Self::Unavailable => "the presence cannot be looked up just now",
        })
    }
}

/// All of it, for others to read.
pub fn schemas() -> SchemaSet {
    SchemaSet::new().event::<PresenceChanged>().event::<FollowsChanged>().rpc::<GetPresence>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_written_as_clients_know_it() {
        let last_active = Timestamp::from_millis(17);
        let now = Presence { state: State::Online, status_msg: None, last_active, revision: 3 };
        let changed = PresenceChanged::new("alice".parse().unwrap(), now);
        let json = serde_json::to_string(&changed).unwrap();
        assert_eq!(json, r#"{"user":"alice","presence":"online","last_active":17,"revision":3}"#);
        assert_eq!(serde_json::from_str::<PresenceChanged>(&json).unwrap(), changed);
    }

    #[test]
    fn what_no_user_is_called_is_not_read() {
        let error = serde_json::from_str::<GetPresence>(r#"{"user":"Alice"}"#).unwrap_err().to_string();
        assert!(error.starts_with("expected a user name"), "{error}");
    }
}

//! What hubs tell each other.

use serde::{Deserialize, Serialize};

use crate::presence::{Presence, State, StatusMessage};
use crate::time::Timestamp;
use crate::user::UserId;

/// How many states a transaction has at most.
pub const MAX_STATES: usize = 50;

/// The longest transaction that is read, in bytes: states of the longest names and messages, with all of it escaped.
pub const MAX_TRANSACTION: usize = 256 << 10;

/// The presence of one user of the hub that tells it.
///
/// ```
/// use presence::federation::ToldState;
///
/// let text = r#"{"user":"alice","presence":"online","last_active":17,"revision":3}"#;
/// let state: ToldState = serde_json::from_str(text).unwrap();
/// assert_eq!(state.user.as_str(), "alice");
/// assert_eq!(serde_json::to_string(&state).unwrap(), text);
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ToldState {
    /// Whose.
    pub user: UserId,
    /// Whether they are there.
    pub presence: State,
    /// What they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<StatusMessage>,
    /// When they last did something.
    pub last_active: Timestamp,
    /// Larger than that of any earlier one of the user: of two the larger is the newer.
    pub revision: i64,
}

impl ToldState {
    /// The presence of this user.
    pub fn new(user: UserId, now: Presence) -> Self {
        let Presence { state, status_msg, last_active, revision } = now;
        Self { user, presence: state, status_msg, last_active, revision }
    }
}

/// What became of the states of a transaction.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Received {
    /// So many were newer than what was known.
    pub accepted: u32,
    /// So many were not.
    pub stale: u32,
}

//! What the parts of one hub tell each other by the bus.

use logcontext_bus::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::user::UserId;

/// Another hub follows a user from now on, or does so no more. Which of the two, the table says: events may come twice,
/// and in another order than that in which they were fired.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct FollowsChanged {
    /// The name of the hub that follows.
    pub hub: String,
    /// Whom.
    pub user: UserId,
}

impl Event for FollowsChanged {
    const NAME: &'static str = "presence.follows_changed";
}

//! [`News`]: who is to hear of what was committed.

use std::sync::Arc;

use super::followers::Followers;
use super::last_known::LastKnown;
use super::profiles::Profiles;
use crate::presence::Presence;
use crate::user::UserId;

/// All in this process that knows something of users.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) followers: Arc<Followers>,
    pub(super) last_known: LastKnown,
    pub(super) profiles: Profiles,
}

impl News {
    /// The presence of these has changed: says so in this process. Others hear of it by the bus.
    pub(super) fn tell(&self, changed: &[(UserId, Presence)]) {
        for (user, presence) in changed {
            self.last_known.learn(user, presence);
            self.followers.tell(user, presence);
        }
    }

    /// Somebody's profile is not what it was; or they are new, and that nobody knew them does not hold any more.
    pub(super) fn look_again(&self, user: &UserId) {
        self.profiles.invalidate(user);
    }

    /// There is no such user any more.
    pub(super) fn forget(&self, user: &UserId) {
        self.last_known.forget(user);
        self.profiles.invalidate(user);
        self.followers.forget(user);
    }
}

//! What this process is told of others' writing.

use super::Store;
use crate::presence::Presence;
use crate::user::UserId;

impl Store {
    /// Somebody's presence was set, here or elsewhere: who follows them here is told, unless something newer is known.
    pub fn hear(&self, user: &UserId, presence: &Presence) {
        self.news.last_known.learn(user, presence);
        self.news.followers.tell(user, presence);
    }
}

//! [`LastKnown`]: what this process knows to be somebody's presence, because it was here that it was set.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use logcontext_cache::ExpiringCache;

use crate::presence::Presence;
use crate::user::UserId;

/// Kept for a while: other processes may write to the same database.
#[derive(Clone, Debug)]
pub(super) struct LastKnown {
    presences: ExpiringCache<UserId, Presence>,
    /// Held while two presences are compared.
    comparing: Arc<Mutex<()>>,
}

impl LastKnown {
    /// With room for everybody: what was forgotten could be overwritten by what is older.
    pub(super) fn new(users: usize, expiry: Duration) -> Self {
        let presences = ExpiringCache::builder("last_known").capacity(users).expiry(expiry).build();
        Self { presences, comparing: Arc::default() }
    }

    pub(super) fn get(&self, user: &UserId) -> Option<Presence> {
        self.presences.get(user)
    }

    /// This is what the database says from now on, unless something newer is known: two transactions may tell in
    /// another order than that in which they were committed.
    pub(super) fn learn(&self, user: &UserId, presence: &Presence) {
        let _comparing = self.comparing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.presences.peek(user).is_none_or(|known| known.revision < presence.revision) {
            self.presences.insert(user.clone(), presence.clone());
        }
    }

    /// Nobody knows them any more.
    pub(super) fn forget(&self, user: &UserId) {
        let _comparing = self.comparing.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.presences.remove(user));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::State;
    use crate::time::Timestamp;

    #[tokio::test(start_paused = true)]
    async fn the_newest_is_known_whatever_the_order_in_which_it_was_told_and_not_for_ever() {
        let known = LastKnown::new(100, Duration::from_secs(30));
        let alice: UserId = "alice".parse().unwrap();
        let presence = |state, revision| {
            let last_active = Timestamp::from_millis(0);
            Presence { state, status_msg: None, last_active, revision }
        };
        known.learn(&alice, &presence(State::Offline, 3));
        known.learn(&alice, &presence(State::Online, 2));
        assert_eq!(known.get(&alice).unwrap().state, State::Offline);
        known.learn(&alice, &presence(State::Online, 4));
        assert_eq!(known.get(&alice).unwrap().state, State::Online);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(known.get(&alice), None);
        known.learn(&alice, &presence(State::Online, 5));
        known.forget(&alice);
        assert_eq!(known.get(&alice), None);
        known.learn(&alice, &presence(State::Online, 1));
        assert_eq!(known.get(&alice).unwrap().revision, 1, "somebody else of that name");
    }
}

//! [`Followers`]: who follows whose presence; and [`Following`], one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::presence::Presence;
use crate::user::UserId;

/// Those who follow somebody's presence, in this process. There is an entry for whoever is followed, and for
/// nobody else.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<HashMap<UserId, watch::Sender<Option<Presence>>>>);

/// Follows somebody's presence until it is dropped.
#[derive(Debug)]
pub struct Following {
    followers: Arc<Followers>,
    user: UserId,
    changes: watch::Receiver<Option<Presence>>,
}

impl Followers {
    /// Tells all who follow this user; but not of what is older than what they know.
    ///
    /// Two changes may be told in another order than that in which they were made.
    pub(super) fn tell(&self, user: &UserId, news: &Presence) {
        if let Some(followed) = self.lock().get(user) {
            followed.send_if_modified(|known| {
                let is_newer = known.as_ref().is_none_or(|known| known.revision < news.revision);
                if is_newer {
                    *known = Some(news.clone());
                }
                is_newer
            });
        }
    }

    /// There is no such user any more: nothing will ever be heard of them.
    pub(super) fn forget(&self, user: &UserId) {
        self.lock().remove(user);
    }

    /// Follows somebody. The first to be heard is the presence as it is, once that is [told](Following::start).
    pub(super) fn follow(self: &Arc<Self>, user: &UserId) -> Following {
        let changes = self.lock().entry(user.clone()).or_default().subscribe();
        Following { followers: Arc::clone(self), user: user.clone(), changes }
    }

    /// How many users are followed.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<Option<Presence>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// The presence now, or the next one that is news. Who asks seldom misses all but the latest. `None` once the
    /// user has been forgotten.
    pub async fn next(&mut self) -> Option<Presence> {
        loop {
            self.changes.changed().await.ok()?;
            if let Some(presence) = &*self.changes.borrow_and_update() {
                return Some(presence.clone());
            }
        }
    }

    /// Begins with this one, unless there was a newer one meanwhile.
    pub(super) fn start(&mut self, presence: &Presence) {
        self.followers.tell(&self.user, presence);
        self.changes.mark_changed();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut all = self.followers.lock();
        // Where the user was forgotten, an entry of that name is that of others.
        let is_ours = self.changes.has_changed().is_ok();
        if is_ours && all.get(&self.user).is_some_and(|followed| followed.receiver_count() == 1) {
            all.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::State;
    use crate::time::Timestamp;

    fn presence(state: State, revision: i64) -> Presence {
        Presence { state, status_msg: None, last_active: Timestamp::from_millis(0), revision }
    }

    fn alice() -> UserId {
        "alice".parse().unwrap()
    }

    #[tokio::test]
    async fn the_first_is_the_present_state_and_then_each_change() {
        let followers = Arc::<Followers>::default();
        let mut following = followers.follow(&alice());
        following.start(&presence(State::Online, 1));
        assert_eq!(following.next().await.unwrap().state, State::Online);
        followers.tell(&alice(), &presence(State::Offline, 2));
        assert_eq!(following.next().await.unwrap().state, State::Offline);
    }

    #[tokio::test]
    async fn what_is_older_than_what_is_known_is_no_news() {
        let followers = Arc::<Followers>::default();
        let mut following = followers.follow(&alice());
        followers.tell(&alice(), &presence(State::Offline, 3));
        following.start(&presence(State::Online, 1));
        assert_eq!(following.next().await.unwrap().state, State::Offline);
        followers.tell(&alice(), &presence(State::Unavailable, 2));
        assert!(!following.changes.has_changed().unwrap());
    }

    #[tokio::test]
    async fn who_comes_second_hears_the_present_state_too_and_the_first_does_not_hear_it_twice() {
        let followers = Arc::<Followers>::default();
        let mut first = followers.follow(&alice());
        first.start(&presence(State::Online, 1));
        first.next().await.unwrap();
        let mut second = followers.follow(&alice());
        second.start(&presence(State::Online, 1));
        assert_eq!(second.next().await.unwrap().state, State::Online);
        assert!(!first.changes.has_changed().unwrap());
    }

    #[test]
    fn an_entry_vanishes_with_the_last_follower() {
        let followers = Arc::<Followers>::default();
        let [first, second] = [followers.follow(&alice()), followers.follow(&alice())];
        drop(first);
        assert_eq!(followers.len(), 1);
        drop(second);
        assert_eq!(followers.len(), 0);
        followers.tell(&alice(), &presence(State::Online, 1));
        assert_eq!(followers.len(), 0);
    }

    #[tokio::test]
    async fn who_follows_a_user_that_is_forgotten_hears_no_more() {
        let followers = Arc::<Followers>::default();
        let mut old = followers.follow(&alice());
        old.start(&presence(State::Offline, 7));
        old.next().await.unwrap();
        followers.forget(&alice());
        let mut new = followers.follow(&alice());
        new.start(&presence(State::Online, 1));
        assert_eq!(old.next().await, None);
        drop(old);
        assert_eq!(new.next().await.unwrap().revision, 1);
        assert_eq!(followers.len(), 1);
    }
}

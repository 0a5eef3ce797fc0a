//! [`Store`]: everybody's presence, in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::presence::{Presence, State};
use crate::user::UserId;

/// Everybody's presence. The caller says what time it is.
#[derive(Debug)]
pub struct Store {
    users: RwLock<HashMap<UserId, watch::Sender<Presence>>>,
    capacity: usize,
}

/// There is no room for another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How long after the last activity a presence changes.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Who is online becomes unavailable.
    pub unavailable: Duration,
    /// Who is not offline becomes offline.
    pub offline: Duration,
    /// Who is offline, and watched by nobody, is forgotten.
    pub forgotten: Duration,
}

/// How many presences a [`Store::time_out`] has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimedOut {
    /// Became unavailable.
    pub unavailable: usize,
    /// Became offline.
    pub offline: usize,
    /// Were forgotten.
    pub forgotten: usize,
}

impl Store {
    /// An empty store for at most so many users.
    pub fn new(capacity: usize) -> Self {
        Self { users: RwLock::default(), capacity }
    }

    /// Sets somebody's presence and tells who watches it.
    ///
    /// # Errors
    /// If the user is new and the store is full.
    pub fn set(&self, user: &UserId, presence: Presence) -> Result<(), Full> {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = users.get(user) {
            known.send_replace(presence);
        } else if users.len() < self.capacity {
            users.insert(user.clone(), watch::Sender::new(presence));
        } else {
            return Err(Full);
        }
        Ok(())
    }

    /// Somebody's presence, if they are known.
    pub fn get(&self, user: &UserId) -> Option<Presence> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.get(user).map(|known| known.borrow().clone())
    }

    /// Somebody's presence and its changes, if they are known. Who reads slowly misses all but the latest.
    pub fn watch(&self, user: &UserId) -> Option<watch::Receiver<Presence>> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.get(user).map(watch::Sender::subscribe)
    }

    /// How many users are known.
    pub fn len(&self) -> usize {
        self.users.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Is nobody known?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Times out the presence of those who have not been active for long.
    pub fn time_out(&self, timeouts: &Timeouts, now: Instant) -> TimedOut {
        let mut done = TimedOut::default();
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, user| {
            user.send_if_modified(|presence| {
                let idle = now.saturating_duration_since(presence.last_active);
                if presence.state != State::Offline && idle >= timeouts.offline {
                    presence.state = State::Offline;
                    done.offline += 1;
                    true
                } else if presence.state == State::Online && idle >= timeouts.unavailable {
                    presence.state = State::Unavailable;
                    done.unavailable += 1;
                    true
                } else {
                    false
                }
            });
            let presence = user.borrow();
            let idle = now.saturating_duration_since(presence.last_active);
            let forget =
                presence.state == State::Offline && idle >= timeouts.forgotten && user.receiver_count() == 0;
            done.forgotten += usize::from(forget);
            !forget
        });
        done
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for another user; expected fewer users, or an old one")
    }
}

impl std::error::Error for Full {}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        unavailable: Duration::from_secs(30),
        offline: Duration::from_secs(300),
        forgotten: Duration::from_secs(3600),
    };

    fn store_with_alice(start: Instant) -> (Store, UserId) {
        let (store, alice) = (Store::new(10), "alice".parse().unwrap());
        store.set(&alice, online(start)).unwrap();
        (store, alice)
    }

    fn online(now: Instant) -> Presence {
        Presence { state: State::Online, status_msg: None, last_active: now }
    }

    #[test]
    fn who_is_idle_becomes_unavailable_then_offline_then_forgotten() {
        let start = Instant::now();
        let (store, alice) = store_with_alice(start);
        let state_after = |seconds| {
            let done = store.time_out(&TIMEOUTS, start + Duration::from_secs(seconds));
            (store.get(&alice).map(|presence| presence.state), done)
        };
        let nobody = TimedOut::default();
        assert_eq!(state_after(29), (Some(State::Online), nobody));
        assert_eq!(state_after(30), (Some(State::Unavailable), TimedOut { unavailable: 1, ..nobody }));
        assert_eq!(state_after(31), (Some(State::Unavailable), nobody));
        assert_eq!(state_after(300), (Some(State::Offline), TimedOut { offline: 1, ..nobody }));
        assert_eq!(state_after(3599), (Some(State::Offline), nobody));
        assert_eq!(state_after(3600), (None, TimedOut { forgotten: 1, ..nobody }));
        assert!(store.is_empty());
    }

    #[test]
    fn activity_starts_the_clock_anew() {
        let start = Instant::now();
        let (store, alice) = store_with_alice(start);
        store.set(&alice, online(start + Duration::from_secs(29))).unwrap();
        assert_eq!(store.time_out(&TIMEOUTS, start + Duration::from_secs(58)), TimedOut::default());
    }

    #[test]
    fn who_is_watched_is_not_forgotten() {
        let start = Instant::now();
        let (store, alice) = store_with_alice(start);
        let watcher = store.watch(&alice).unwrap();
        let late = start + Duration::from_secs(10_000);
        assert_eq!(store.time_out(&TIMEOUTS, late).forgotten, 0);
        assert_eq!(watcher.borrow().state, State::Offline);
        drop(watcher);
        assert_eq!(store.time_out(&TIMEOUTS, late).forgotten, 1);
    }

    #[test]
    fn watchers_hear_of_changes_only() {
        let start = Instant::now();
        let (store, alice) = store_with_alice(start);
        let mut watcher = store.watch(&alice).unwrap();
        store.time_out(&TIMEOUTS, start);
        assert!(!watcher.has_changed().unwrap());
        store.time_out(&TIMEOUTS, start + TIMEOUTS.unavailable);
        assert_eq!(watcher.borrow_and_update().state, State::Unavailable);
    }

    #[test]
    fn a_full_store_takes_changes_but_no_newcomers() {
        let now = Instant::now();
        let (store, bob) = (Store::new(1), "bob".parse().unwrap());
        store.set(&"alice".parse().unwrap(), online(now)).unwrap();
        assert_eq!(store.set(&bob, online(now)), Err(Full));
        assert_eq!(store.set(&"alice".parse().unwrap(), online(now)), Ok(()));
        assert_eq!(store.len(), 1);
        assert_eq!(store.get(&bob), None);
    }
}

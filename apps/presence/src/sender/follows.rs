//! [`Follows`]: which destinations of a shard are told of whom. The table is the truth; this is what is known of it.

use std::collections::{HashMap, HashSet};

use crate::user::UserId;

/// Which destination of a shard: its place in the list of them.
pub(super) type Place = u16;

/// Who is told of whom.
#[derive(Debug, Default)]
pub(super) struct Follows {
    /// Those who are told of everybody.
    all: Vec<Place>,
    by_user: HashMap<UserId, HashSet<Place>>,
}

impl Follows {
    /// It is told of everybody.
    pub(super) fn add_all(&mut self, place: Place) {
        self.all.push(place);
    }

    /// It is told of this user from now on, or no more.
    pub(super) fn set(&mut self, user: &UserId, place: Place, follows: bool) {
        if follows {
            self.by_user.entry(user.clone()).or_default().insert(place);
        } else if let Some(places) = self.by_user.get_mut(user) {
            places.remove(&place);
            if places.is_empty() {
                self.by_user.remove(user);
            }
        }
    }

    /// Who is told of this user, each once.
    pub(super) fn of(&self, user: &UserId) -> Vec<Place> {
        let mut places = self.all.clone();
        let some = self.by_user.get(user).into_iter().flatten();
        places.extend(some.filter(|place| !self.all.contains(place)));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_nobody_is_remembered_who_is_not_followed() {
        let (alice, bob): (UserId, UserId) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let mut follows = Follows::default();
        follows.add_all(0);
        for place in [0, 1, 1] {
            follows.set(&alice, place, true);
        }
        assert_eq!((follows.of(&alice), follows.of(&bob)), (vec![0, 1], vec![0]));
        follows.set(&alice, 1, false);
        follows.set(&alice, 0, false);
        follows.set(&bob, 1, false);
        assert_eq!((follows.of(&alice), follows.by_user.len()), (vec![0], 0));
    }
}

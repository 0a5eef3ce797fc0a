//! What the store keeps, times out and forgets, by a clock that the tests set.

mod common;

use std::time::Duration;

use common::{Own, on_both_databases, with_store};
use futures_util::FutureExt as _;
use presence::presence::State;
use presence::store::{BATCH, Limits, SetError, Store, TimedOut, Timeouts};
use presence::time::Timestamp;
use presence::user::UserId;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const TIMEOUTS: Timeouts =
    Timeouts { unavailable: Duration::from_secs(30), offline: Duration::from_secs(300) };
const NOBODY: TimedOut = TimedOut { unavailable: 0, offline: 0 };

fn seconds(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

async fn set(store: &Store, name: &str, state: State, now: Timestamp) {
    store.set_presence(&user(name), state, None, now).await.unwrap();
}

async fn state(store: &Store, name: &str) -> Option<State> {
    store.presence(&user(name)).await.unwrap().map(|presence| presence.state)
}

/// The states, the oldest first.
async fn history(store: &Store, name: &str) -> Vec<State> {
    let entries = store.history(&user(name), 100, None).await.unwrap().unwrap();
    entries.iter().rev().map(|entry| entry.state).collect()
}

/// Adds so many users, all of them online since the start.
fn add_users(own: &Own, count: i64) {
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    own.sql(&format!("INSERT INTO users (name, since) {numbers} SELECT 'u' || i, 0 FROM n"));
    own.sql(&format!("UPDATE user_count SET total = total + {count}"));
    let at = START.as_millis();
    own.sql(&format!(
        "INSERT INTO presence (user_name, state, last_active, revision)
         SELECT name, 'online', {at}, 1 FROM users"
    ));
}

on_both_databases! {
    fn who_is_idle_becomes_unavailable_and_then_offline(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            set(store, "alice", State::Online, START).await;
            for (after, expected, done) in [
                (29, State::Online, NOBODY),
                (30, State::Unavailable, TimedOut { unavailable: 1, ..NOBODY }),
                (31, State::Unavailable, NOBODY),
                (299, State::Unavailable, NOBODY),
                (300, State::Offline, TimedOut { offline: 1, ..NOBODY }),
                (9_999, State::Offline, NOBODY),
            ] {
                assert_eq!(store.time_out(&TIMEOUTS, seconds(after)).await.unwrap(), done, "after {after} s");
                assert_eq!(state(store, "alice").await, Some(expected), "after {after} s");
            }
            assert_eq!(history(store, "alice").await, [State::Online, State::Unavailable, State::Offline]);
            let entries = store.history(&user("alice"), 1, None).await.unwrap().unwrap();
            assert_eq!(entries[0].at, seconds(300));
        });
    }

    fn who_was_away_for_long_becomes_offline_at_once(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            set(store, "alice", State::Online, START).await;
            let done = store.time_out(&TIMEOUTS, seconds(300)).await.unwrap();
            assert_eq!(done, TimedOut { offline: 1, ..NOBODY });
            assert_eq!(history(store, "alice").await, [State::Online, State::Offline]);
        });
    }

    fn activity_starts_the_clock_anew(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            set(store, "alice", State::Online, START).await;
            set(store, "alice", State::Online, seconds(29)).await;
            assert_eq!(store.time_out(&TIMEOUTS, seconds(58)).await.unwrap(), NOBODY);
            assert_eq!(history(store, "alice").await, [State::Online]);
        });
    }

    fn a_time_out_keeps_what_was_said_and_when_somebody_was_active(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            let said = presence::presence::StatusMessage::try_from("brb".to_owned()).unwrap();
            store.set_presence(&user("alice"), State::Online, Some(said.clone()), START).await.unwrap();
            store.time_out(&TIMEOUTS, seconds(30)).await.unwrap();
            let presence = store.presence(&user("alice")).await.unwrap().unwrap();
            assert_eq!((presence.status_msg, presence.last_active), (Some(said), START));
        });
    }

    fn a_time_out_is_told_to_who_follows_and_nothing_else_is(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            set(store, "alice", State::Online, START).await;
            set(store, "bob", State::Online, START).await;
            let mut following = store.follow(&user("alice")).await.unwrap().unwrap();
            assert_eq!(following.next().await.unwrap().state, State::Online);
            store.time_out(&TIMEOUTS, START).await.unwrap();
            set(store, "bob", State::Offline, START).await;
            assert!(following.next().now_or_never().is_none());
            store.time_out(&TIMEOUTS, seconds(30)).await.unwrap();
            assert_eq!(following.next().await.unwrap().state, State::Unavailable);
            assert_eq!(store.followed(), 1);
            drop(following);
            assert_eq!(store.followed(), 0);
            assert!(store.follow(&user("carol")).await.unwrap().is_none());
            assert_eq!(store.followed(), 0);
        });
    }

    fn more_than_a_batch_is_timed_out_pruned_and_forgotten_in_one_go(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            let users = 2 * BATCH + 1;
            add_users(&own, users);
            let done = store.time_out(&TIMEOUTS, seconds(30)).await.unwrap();
            assert_eq!(done, TimedOut { unavailable: users as usize, ..NOBODY });
            let done = store.time_out(&TIMEOUTS, seconds(300)).await.unwrap();
            assert_eq!(done, TimedOut { offline: users as usize, ..NOBODY });
            assert_eq!(own.number("SELECT count(*) FROM history"), 2 * users);
            assert_eq!(store.prune_history(seconds(301)).await.unwrap(), 2 * users as u64);
            assert_eq!(own.number("SELECT count(*) FROM history"), 0);
            assert_eq!(store.forget_users(seconds(301)).await.unwrap(), users as u64);
            assert_eq!(own.number("SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM presence)"), 0);
            assert_eq!(store.users().await.unwrap(), 0);
        });
    }

    fn only_what_is_old_is_pruned(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            for (state, at) in [(State::Online, 0), (State::Unavailable, 10), (State::Offline, 20)] {
                set(store, "alice", state, seconds(at)).await;
            }
            assert_eq!(store.prune_history(seconds(10)).await.unwrap(), 1);
            assert_eq!(history(store, "alice").await, [State::Unavailable, State::Offline]);
            assert_eq!(store.prune_history(seconds(10)).await.unwrap(), 0);
            assert_eq!(store.prune_history(seconds(1_000)).await.unwrap(), 2);
            assert_eq!(history(store, "alice").await, []);
            assert_eq!(state(store, "alice").await, Some(State::Offline));
            // Nobody who reads page by page meets an id again.
            set(store, "alice", State::Online, seconds(30)).await;
            assert_eq!(store.history(&user("alice"), 1, None).await.unwrap().unwrap()[0].id, 4);
        });
    }

    fn only_who_is_offline_for_long_and_has_no_history_is_forgotten(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            set(store, "online", State::Online, START).await;
            set(store, "recent", State::Offline, seconds(100)).await;
            set(store, "noted", State::Offline, START).await;
            set(store, "gone", State::Offline, START).await;
            own.sql("DELETE FROM history WHERE user_name <> 'noted'");
            let mut following = store.follow(&user("gone")).await.unwrap().unwrap();
            assert_eq!(following.next().await.unwrap().state, State::Offline);
            assert_eq!(store.forget_users(seconds(100)).await.unwrap(), 1);
            assert_eq!(following.next().await, None);
            assert_eq!(state(store, "gone").await, None);
            assert!(store.history(&user("gone"), 1, None).await.unwrap().is_none());
            for known in ["online", "recent", "noted"] {
                assert!(state(store, known).await.is_some(), "{known}");
            }
            assert_eq!(store.users().await.unwrap(), 3);
        });
    }

    fn a_full_store_takes_changes_but_no_newcomers_until_somebody_is_forgotten(own: Own) {
        let limits = Limits { max_users: 2, ..Limits::default() };
        with_store(&own, &limits, async |store| {
            set(store, "alice", State::Online, START).await;
            set(store, "bob", State::Offline, START).await;
            let refused = store.set_presence(&user("carol"), State::Online, None, START).await;
            assert!(matches!(refused, Err(SetError::Full)), "{refused:?}");
            assert_eq!(state(store, "carol").await, None);
            assert_eq!(own.number("SELECT count(*) FROM users"), 2);
            set(store, "alice", State::Offline, seconds(10)).await;
            store.prune_history(seconds(5)).await.unwrap();
            assert_eq!(store.forget_users(seconds(5)).await.unwrap(), 1);
            set(store, "carol", State::Online, seconds(10)).await;
            assert_eq!(store.users().await.unwrap(), 2);
        });
    }

    fn newcomers_at_the_same_moment_stay_within_the_limit_and_are_counted_once(own: Own) {
        let limits = Limits { max_users: 3, ..Limits::default() };
        with_store(&own, &limits, async |store| {
            let names: Vec<_> = (0..24).map(|n| user(&format!("u{}", n % 6))).collect();
            let all = names.iter().map(|name| store.set_presence(name, State::Online, None, START));
            let done = futures_util::future::join_all(all).await;
            for refused in done.iter().filter_map(|done| done.as_ref().err()) {
                assert!(matches!(refused, SetError::Full), "{refused:?}");
            }
            assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 12);
            assert_eq!(own.number("SELECT count(*) FROM users"), 3);
            assert_eq!(store.users().await.unwrap(), 3);
        });
    }

    fn the_last_that_a_follower_hears_is_what_the_database_says(own: Own) {
        let limits = Limits { last_known: Duration::ZERO, ..Limits::default() };
        with_store(&own, &limits, async |store| {
            set(store, "alice", State::Offline, START).await;
            let mut following = store.follow(&user("alice")).await.unwrap().unwrap();
            for _ in 0..10 {
                let states = [State::Online, State::Unavailable, State::Offline, State::Online];
                let alice = user("alice");
                let all = states.map(|state| store.set_presence(&alice, state, None, START));
                futures_util::future::join_all(all).await.into_iter().for_each(|set| drop(set.unwrap()));
                let mut last = following.next().await.unwrap();
                while let Some(Some(next)) = following.next().now_or_never() {
                    last = next;
                }
                assert_eq!(Some(last), store.presence(&alice).await.unwrap());
            }
        });
    }

    fn what_somebody_else_has_written_there_is_an_error_and_no_panic(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            set(store, "alice", State::Online, START).await;
            own.sql("UPDATE history SET state = 'away'");
            let error = store.history(&user("alice"), 1, None).await.unwrap_err().to_string();
            assert!(error.contains("state") && error.contains("`unavailable`"), "{error}");
        });
    }
}

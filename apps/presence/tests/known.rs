//! What is known without asking the database, what it is asked once for many, and who waits for whom.

mod common;

use std::time::Duration;

use common::{JSON, Own, ask, on_both_databases, refused, set, with_service, with_store};
use futures_util::future::join_all;
use logcontext::source::{Buckets, Collector};
use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_cache::KEYED_WAIT;
use presence::presence::State;
use presence::profile::DisplayName;
use presence::store::{Limits, Store};
use presence::time::Timestamp;
use presence::user::UserId;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

async fn online(store: &Store, name: &str) {
    store.set_presence(&user(name), State::Online, None, START).await.unwrap();
}

async fn state(store: &Store, name: &str) -> State {
    store.presence(&user(name)).await.unwrap().unwrap().state
}

fn called(name: &str) -> Option<DisplayName> {
    Some(name.to_owned().try_into().unwrap())
}

async fn name(store: &Store, name: &str) -> Option<DisplayName> {
    store.profile(&user(name)).await.unwrap().unwrap().display_name
}

/// So many requests.
fn requests(count: usize) -> Vec<LogContext> {
    (0..count).map(|n| LogContext::new(format!("GET-{n}"))).collect()
}

fn transactions(requests: &[LogContext]) -> Vec<u64> {
    requests.iter().map(|request| request.usage().db_txn_count).collect()
}

/// How often somebody had the turn to update a user.
#[derive(Default)]
struct Turns(f64);

impl Turns {
    fn of_updates() -> f64 {
        let mut turns = Self::default();
        Supervisor::current().sources().iter().for_each(|source| source.collect(&mut turns));
        turns.0
    }
}

impl Collector for Turns {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        if name == "keyed_queue_turns" && labels.contains(&("name", "updates")) {
            self.0 += value;
        }
    }

    fn histogram(&mut self, _: &'static str, _: &[(&'static str, &str)], _: &Buckets) {}
}

#[test]
fn an_update_waits_for_the_one_before_it_without_a_connection_and_pays_for_the_wait() {
    let own = Own::sqlite();
    with_store(&own, &Limits::default(), async |store| {
        online(store, "alice").await;
        let (alice, requests) = (user("alice"), requests(2));
        let locked = own.keep_from_writing();
        let mut setting = Box::pin(join_all(requests.iter().map(|request| {
            store.set_presence(&alice, State::Offline, None, START).in_context(request.clone())
        })));
        tokio::select! {
            biased;
            _ = &mut setting => panic!("somebody else writes"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(requests[1].usage().db_acquire, Duration::ZERO);
        drop(locked);
        assert!(setting.await.iter().all(Result::is_ok));
        let waits = [0, 1].map(|n: usize| requests[n].usage().counter(&KEYED_WAIT));
        assert!(waits[0] == 0 && waits[1] > 0, "{waits:?}");
    });
}

on_both_databases! {
    fn a_presence_that_was_set_here_is_known_without_asking(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            online(store, "alice").await;
            let request = &requests(1)[0];
            let known = state(store, "alice").in_context(request.clone()).await;
            assert_eq!((known, request.usage().db_txn_count), (State::Online, 0));
            // Every way in which it changes is learnt.
            let timeouts = presence::store::Timeouts { unavailable: Duration::ZERO, offline: Duration::from_secs(9) };
            store.time_out(&timeouts, START).await.unwrap();
            let known = state(store, "alice").in_context(request.clone()).await;
            assert_eq!((known, request.usage().db_txn_count), (State::Unavailable, 0));
        });
    }

    fn it_is_not_known_for_longer_than_was_said(own: Own) {
        let limits = Limits { last_known: Duration::ZERO, ..Limits::default() };
        with_store(&own, &limits, async |store| {
            online(store, "alice").await;
            own.sql("UPDATE presence SET state = 'offline'");
            assert_eq!(state(store, "alice").await, State::Offline);
        });
    }

    fn a_profile_is_looked_up_once_however_many_ask_and_the_first_pays(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            online(store, "alice").await;
            let requests = requests(8);
            let asking = requests.iter().map(|request| name(store, "alice").in_context(request.clone()));
            assert_eq!(join_all(asking).await, vec![None; 8]);
            assert_eq!(transactions(&requests), [1, 0, 0, 0, 0, 0, 0, 0]);
            own.sql("UPDATE users SET display_name = 'Eve'");
            assert_eq!(name(store, "alice").await, None, "it is kept");
        });
    }

    fn a_profile_that_has_changed_is_looked_up_again(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            let alice = user("alice");
            online(store, "alice").await;
            assert_eq!(name(store, "alice").await, None);
            assert!(store.set_display_name(&alice, called("Alice").as_ref()).await.unwrap());
            assert_eq!(name(store, "alice").await, called("Alice"));
            assert!(store.set_display_name(&alice, None).await.unwrap());
            assert_eq!(name(store, "alice").await, None);
        });
    }

    fn that_nobody_knows_somebody_is_remembered_until_they_come(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            let requests = requests(2);
            for request in &requests {
                assert!(store.profile(&user("bob")).in_context(request.clone()).await.unwrap().is_none());
            }
            assert_eq!(transactions(&requests), [1, 0]);
            assert!(!store.set_display_name(&user("bob"), called("Bob").as_ref()).await.unwrap());
            online(store, "bob").await;
            assert!(store.profile(&user("bob")).await.unwrap().is_some());
            store.set_presence(&user("bob"), State::Offline, None, START).await.unwrap();
            store.prune_history(START.after(Duration::from_secs(1))).await.unwrap();
            assert_eq!(store.forget_users(START.after(Duration::from_secs(1))).await.unwrap(), 1);
            assert!(store.profile(&user("bob")).await.unwrap().is_none(), "forgotten");
            assert!(store.presence(&user("bob")).await.unwrap().is_none(), "forgotten");
        });
    }

    fn updates_of_one_user_are_made_one_by_one_in_the_order_in_which_they_came(own: Own) {
        with_store(&own, &Limits::default(), async |store| {
            online(store, "alice").await;
            let alice = user("alice");
            let setting = (0..8).map(|_| store.set_presence(&alice, State::Online, None, START));
            let set = join_all(setting).await;
            let revisions: Vec<_> = set.into_iter().map(|set| set.unwrap().revision).collect();
            assert_eq!(revisions, [2, 3, 4, 5, 6, 7, 8, 9]);
            assert!(store.set_display_name(&alice, None).await.unwrap());
            assert_eq!(Turns::of_updates(), 10.0);
        });
    }

    fn what_somebody_is_called_is_set_and_shown_with_their_presence(own: Own) {
        with_service(own.settings(), async |address| {
            let put = async |body: &str, headers: &[&str]| {
                ask(address, "PUT /presence/alice/profile", headers, body).await
            };
            let (alice, ada) = ("authorization: Bearer alice", r#"{"display_name": "Ada"}"#);
            refused(put(ada, &[JSON]), 404, "unknown_user", &["nothing is known of alice"]).await;
            set(address, "alice", "online").await;
            let answer = put(ada, &[JSON, alice]).await;
            assert_eq!((answer.status, &answer.json()["display_name"]), (200, &"Ada".into()), "{answer:?}");
            let get = async |path: &str| ask(address, &format!("GET {path}"), &[], "").await.json();
            assert_eq!(get("/presence/alice").await["display_name"], "Ada");
            assert_eq!(get("/presence/alice/profile").await, answer.json());
            refused(put(ada, &[JSON, "authorization: Bearer bob"]), 403, "forbidden", &["the profile of alice"]).await;
            let empty = r#"{"display_name": ""}"#;
            refused(put(empty, &[JSON]), 400, "invalid_body", &["display_name", "1 to 64"]).await;
            let answer = put(r#"{"display_name": null}"#, &[JSON]).await;
            assert!(answer.json().get("display_name").is_none(), "{answer:?}");
            assert!(get("/presence/alice").await.get("display_name").is_none());
            refused(ask(address, "GET /presence/bob/profile", &[], ""), 404, "unknown_user", &[]).await;
        });
    }
}

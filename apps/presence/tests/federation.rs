//! What other hubs may ask: to be told of somebody, and to tell.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{Answer, JSON, Own, PATIENCE, ask, on_both_databases, refused};
use logcontext::testing;
use logcontext::{FutureExt, Supervisor, background};
use logcontext_bus::{Bus, BusConfig};
use logcontext_http::{ContextLayer, ServeOptions, serve};
use presence::federation::{FederationSettings, FollowsChanged, HubSettings, MAX_TRANSACTION, routes};
use presence::presence::State;
use presence::store::{Limits, Store};
use presence::time::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const TWO: &str = "authorization: Bearer secret of two";
const THREE: &str = "authorization: Bearer secret of three";

struct Served {
    address: SocketAddr,
    store: Arc<Store>,
    bus: Bus,
}

fn hub(secret: &str) -> HubSettings {
    let url = "http://127.0.0.1:1".parse().unwrap();
    HubSettings { url, secret: secret.parse().unwrap(), follows_all: false }
}

fn settings() -> FederationSettings {
    let hubs = [("two", "secret of two"), ("three", "secret of three")];
    let hubs = hubs.iter().map(|(name, secret)| ((*name).to_owned(), hub(secret))).collect();
    FederationSettings { hub: "one".to_owned(), hubs, ..FederationSettings::default() }
}

/// Serves what other hubs ask, with room for three users.
fn served(own: &Own, client: impl AsyncFnOnce(&Served)) {
    let kit = testing::start();
    let context = kit.supervisor().context("test").start();
    let work = async {
        let limits = Limits { max_users: 3, ..Limits::default() };
        let store = Arc::new(Store::open(&own.url.clone().into(), &limits).await.unwrap());
        let bus = Bus::connect(&BusConfig::new("presence", "memory:")).await.unwrap();
        let layer = ContextLayer::new().supervisor(kit.supervisor());
        let app = routes(Arc::clone(&store), bus.clone(), &settings()).layer(layer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions::default().supervisor(kit.supervisor());
        let serving = background::run("http", serve(listener, app, options));
        let served = Served { address, store, bus };
        client(&served).await;
        served.bus.close(PATIENCE).await;
        kit.supervisor().shutdown(PATIENCE).await;
        serving.await.unwrap().unwrap();
        assert_eq!(served.store.close(PATIENCE).await.left_open, 0);
    };
    let work = async { timeout(3 * PATIENCE, work.in_context(context)).await };
    common::runtime(&kit).block_on(work).expect("in time");
    let secrets = kit.records().iter().filter(|record| format!("{record:?}").contains("secret of")).count();
    assert_eq!(secrets, 0, "a secret in the log");
}

fn state(user: &str, presence: &str, revision: i64) -> String {
    format!(r#"{{"user":"{user}","presence":"{presence}","last_active":17,"revision":{revision}}}"#)
}

impl Served {
    async fn send(&self, hub: &str, id: &str, states: &[String]) -> Answer {
        let body = format!(r#"{{"states":[{}]}}"#, states.join(","));
        ask(self.address, &format!("PUT /_federation/send/{id}"), &[hub, JSON], &body).await
    }

    async fn received(&self, hub: &str, id: &str, states: &[String]) -> (i64, i64) {
        let answer = self.send(hub, id, states).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let number = |key: &str| answer.json()[key].as_i64().unwrap();
        (number("accepted"), number("stale"))
    }

    async fn get(&self, hub: &str, user: &str) -> Answer {
        ask(self.address, &format!("GET /hubs/{hub}/presence/{user}"), &[], "").await
    }

    async fn presence(&self, hub: &str, user: &str) -> String {
        self.get(hub, user).await.json()["presence"].as_str().unwrap_or_default().to_owned()
    }
}

on_both_databases! {
    fn what_a_hub_tells_is_known_of_its_users_and_the_newest_counts(own: Own) {
        served(&own, async |hub| {
            let states = [state("alice", "online", 3), state("bob", "offline", 1)];
            assert_eq!(hub.received(TWO, "1", &states).await, (2, 0));
            let states = [state("alice", "offline", 2), state("bob", "unavailable", 7), state("alice", "offline", 1)];
            assert_eq!(hub.received(TWO, "2", &states).await, (1, 2));
            assert_eq!((hub.presence("two", "alice").await, hub.presence("two", "bob").await),
                ("online".to_owned(), "unavailable".to_owned()));
            assert_eq!(hub.received(THREE, "1", &[state("alice", "unavailable", 1)]).await, (1, 0));
            assert_eq!(hub.presence("three", "alice").await, "unavailable", "somebody else");
            assert_eq!(hub.presence("two", "alice").await, "online");
            let alice = hub.get("two", "alice").await.json();
            assert!(alice["last_active_ago"].as_u64().unwrap() > 1_000_000);
            assert_eq!(hub.received(TWO, "3", &[]).await, (0, 0));
        });
    }

    fn a_transaction_counts_once_also_with_another_body_and_for_each_hub(own: Own) {
        served(&own, async |hub| {
            assert_eq!(hub.received(TWO, "1", &[state("alice", "online", 1)]).await, (1, 0));
            for again in [state("alice", "online", 1), state("alice", "offline", 9)] {
                assert_eq!(hub.received(TWO, "1", &[again]).await, (1, 0), "as it was answered");
            }
            assert_eq!(hub.presence("two", "alice").await, "online");
            assert_eq!(hub.received(THREE, "1", &[state("alice", "offline", 1)]).await, (1, 0));
            let day = Duration::from_secs(24 * 60 * 60);
            let prune = async |before| hub.store.prune_received(before).await.unwrap();
            assert_eq!((prune(Timestamp::now().before(day)).await, prune(Timestamp::now().after(day)).await), (0, 2));
            assert_eq!(hub.received(TWO, "1", &[state("alice", "online", 1)]).await, (0, 1), "forgotten");
        });
    }

    fn the_same_transaction_many_times_at_once_counts_once(own: Own) {
        served(&own, async |hub| {
            // As another process has it.
            let context = Supervisor::new("other").context("other").start();
            let (url, limits) = (own.url.clone().into(), Limits::default());
            let other = Store::open(&url, &limits).in_context(context).await.unwrap();
            let two = "two".parse().unwrap();
            let state = |revision| serde_json::from_str(&state("alice", "online", revision)).unwrap();
            for round in 1..=20 {
                let (id, states) = (format!("t{round}"), [state(round)]);
                let receive = async |store: &Store| store.receive(&two, &id, &states, Timestamp::now()).await;
                let (a, b, c, d) =
                    tokio::join!(receive(&hub.store), receive(&other), receive(&hub.store), receive(&other));
                for received in [a, b, c, d] {
                    let received = received.unwrap();
                    assert_eq!((received.accepted, received.stale), (1, 0));
                }
                let updates = own.number("SELECT updates FROM remote_presence WHERE user_name = 'alice'");
                assert_eq!(updates, round - 1, "applied once");
            }
            assert_eq!(other.close(PATIENCE).await.left_open, 0);
        });
    }

    fn one_bad_state_refuses_them_all_and_there_is_room_for_so_many_users(own: Own) {
        served(&own, async |hub| {
            let good = state("alice", "online", 1);
            for (bad, expected) in [
                (state("two:alice", "online", 1), "expected a user name"),
                (state("alice", "away", 1), "expected `online`"),
                (state("bob", "online", 0), "revision: expected a number of at least 1"),
                (state("bob", "online", 1).replace("17", "-1"), "last_active: expected milliseconds"),
                (state("bob", "online", 1).replace("17", "\"x\""), "expected i64"),
                (state("bob", "online", 1).replace("\"user\"", "\"hub\""), "unknown field `hub`"),
                (r#"{"user":"bob"}"#.to_owned(), "missing field `presence`"),
                (state("bob", "online", 1).replace('}', r#","status_msg":"a\u001b"}"#), "control character"),
                (r#"["bob","online",null,17,1]"#.to_owned(), "expected an object with `user`"),
            ] {
                let states = [good.clone(), bad];
                refused(hub.send(TWO, "1", &states), 400, "invalid_body", &["states[1]: ", expected]).await;
            }
            let many: Vec<_> = (0..51).map(|n| state(&format!("u{n}"), "online", 1)).collect();
            refused(hub.send(TWO, "1", &many), 400, "invalid_body", &["at most 50, found 51"]).await;
            let put = async |id: &str, body: &str| {
                ask(hub.address, &format!("PUT /_federation/send/{id}"), &[TWO, JSON], body).await
            };
            refused(put("1", "{"), 400, "invalid_json", &["expected JSON"]).await;
            refused(put("1", "[1]"), 400, "invalid_body", &["an object with `states`"]).await;
            refused(put("1", "{}"), 400, "invalid_body", &["missing field `states`"]).await;
            refused(put("a%20b", r#"{"states":[]}"#), 400, "invalid_transaction_id", &["letters, digits"]).await;
            let id = "x".repeat(65);
            refused(put(&id, r#"{"states":[]}"#), 400, "invalid_transaction_id", &["1 to 64"]).await;
            let long = format!(r#"{{"states":[]{}}}"#, " ".repeat(MAX_TRANSACTION));
            refused(put("1", &long), 413, "too_large", &["262144 bytes"]).await;
            refused(hub.get("two", "alice"), 404, "unknown_user", &["nothing is known of alice"]).await;
            assert_eq!(own.number("SELECT count(*) FROM received_transactions"), 0);
            // Three users is what there is room for, of each hub.
            let users = |names: &[&str]| names.iter().map(|name| state(name, "online", 1)).collect::<Vec<_>>();
            assert_eq!(hub.received(TWO, "1", &users(&["a", "b"])).await, (2, 0));
            let states = users(&["b", "c", "d"]);
            refused(hub.send(TWO, "2", &states), 503, "too_many_users", &["no room"]).await;
            assert_eq!(hub.received(TWO, "3", &users(&["b", "c"])).await, (1, 1));
            assert_eq!(hub.received(THREE, "1", &users(&["x"])).await, (1, 0));
        });
    }

    fn who_is_forgotten_and_comes_back_is_newer_than_other_hubs_remember(own: Own) {
        served(&own, async |hub| {
            let alice = "alice".parse().unwrap();
            let at = Timestamp::from_millis(1_000);
            let set = async |state| hub.store.set_presence(&alice, state, None, at).await.unwrap().revision;
            assert_eq!((set(State::Online).await, set(State::Online).await, set(State::Offline).await), (1, 2, 3));
            hub.store.prune_history(at.after(Duration::from_secs(1))).await.unwrap();
            assert_eq!(hub.store.forget_users(at.after(Duration::from_secs(1))).await.unwrap(), 1);
            assert_eq!(set(State::Online).await, 4);
        });
    }

    fn a_hub_follows_whom_it_wants_and_the_sender_hears_of_it(own: Own) {
        served(&own, async |hub| {
            let (tell, mut told) = mpsc::unbounded_channel();
            let listener = hub.bus.listen::<FollowsChanged>("sender-1", move |changed: FollowsChanged| {
                let tell = tell.clone();
                async move { tell.send(changed) }
            });
            listener.start().await.unwrap();
            let follow = async |method: &str, user: &str, secret: &str| {
                ask(hub.address, &format!("{method} /_federation/follows/{user}"), &[secret], "").await
            };
            let two = "two".parse().unwrap();
            for (method, follows) in [("PUT", true), ("PUT", true), ("DELETE", false), ("DELETE", false)] {
                let answer = follow(method, "alice", TWO).await;
                assert_eq!((answer.status, &answer.json()["follows"]), (200, &follows.into()));
                let heard = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
                assert_eq!((&*heard.hub, heard.user.as_str()), ("two", "alice"));
                let now = hub.store.is_followed_by(&two, &heard.user).await.unwrap();
                assert_eq!(now, follows);
            }
            for user in ["a", "b", "c", "c"] {
                assert_eq!(follow("PUT", user, TWO).await.status, 200);
            }
            refused(follow("PUT", "d", TWO), 503, "too_many_follows", &["no room"]).await;
            assert_eq!(follow("DELETE", "b", TWO).await.status, 200);
            assert_eq!(follow("PUT", "d", TWO).await.status, 200);
            let names: Vec<_> = hub.store.followed_by(&two).await.unwrap();
            assert_eq!(names.iter().map(|user| user.as_str()).collect::<Vec<_>>(), ["a", "c", "d"]);
            refused(follow("PUT", "Alice", TWO), 400, "invalid_user", &["expected a user name"]).await;
        });
    }
}

#[test]
fn who_has_no_secret_is_turned_away() {
    served(&Own::sqlite(), async |hub| {
        let wrong = [
            "authorization: Bearer secret of tw",
            "authorization: Bearer secret of two2",
            "authorization: Bearer two",
            "authorization: Bearer ",
            "authorization: Basic secret of two",
            "x-nothing: y",
        ];
        for header in wrong {
            for request in
                ["PUT /_federation/send/1", "PUT /_federation/follows/a", "DELETE /_federation/follows/a"]
            {
                let headers = [header, JSON];
                let answer = ask(hub.address, request, &headers, r#"{"states":[]}"#);
                refused(answer, 401, "unknown_hub", &["Bearer <secret>"]).await;
            }
        }
        refused(hub.get("four", "alice"), 404, "not_found", &["no such hub"]).await;
        refused(hub.get("Two", "alice"), 400, "invalid_hub", &["expected the name of a hub"]).await;
        refused(hub.get("two", "Alice"), 400, "invalid_user", &["expected a user name"]).await;
        let answer = ask(hub.address, "POST /_federation/send/1", &[TWO], "").await;
        assert_eq!(answer.status, 405);
    });
}

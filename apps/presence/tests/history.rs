//! The history of a presence.

mod common;

use std::net::SocketAddr;

use common::{JSON, ask, on_both_databases, refused, set, with_service};
use logcontext_service::config::PositiveTime;
use serde_json::{Value, json};

async fn say(address: SocketAddr, text: &str) {
    let body = json!({"presence": "online", "status_msg": text}).to_string();
    assert_eq!(ask(address, "PUT /presence/alice", &[JSON], &body).await.status, 200);
}

/// The entries of alice's history, for these parameters.
async fn history(address: SocketAddr, query: &str) -> Vec<Value> {
    let answer = ask(address, &format!("GET /presence/alice/history{query}"), &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["user"], "alice");
    json["history"].as_array().unwrap().clone()
}

fn said(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["status_msg"].as_str().unwrap()).collect()
}

fn id(entry: &Value) -> i64 {
    entry["id"].as_i64().unwrap()
}

on_both_databases! {
    fn each_change_is_kept_the_newest_first(own: Own) {
        with_service(own.settings(), async |address| {
            set(address, "alice", "online").await;
            set(address, "bob", "offline").await;
            say(address, "hello").await;
            set(address, "alice", "offline").await;
            let entries = history(address, "").await;
            let states: Vec<_> = entries.iter().map(|entry| (&entry["presence"], entry.get("status_msg"))).collect();
            assert_eq!(states, [
                (&json!("offline"), None),
                (&json!("online"), Some(&json!("hello"))),
                (&json!("online"), None),
            ]);
            assert!(entries.is_sorted_by(|new, old| id(new) > id(old)), "{entries:?}");
            assert!(entries.is_sorted_by_key(|entry| -entry["at"].as_i64().unwrap()), "{entries:?}");
        });
    }

    fn what_is_no_change_is_no_entry(own: Own) {
        with_service(own.settings(), async |address| {
            for _ in 0..3 {
                say(address, "hello").await;
            }
            assert_eq!(history(address, "").await.len(), 1);
        });
    }

    fn it_is_read_page_by_page(own: Own) {
        with_service(own.settings(), async |address| {
            for n in 0..60 {
                say(address, &n.to_string()).await;
            }
            let first = history(address, "?limit=2").await;
            assert_eq!(said(&first), ["59", "58"]);
            let second = history(address, &format!("?before={}&limit=3", id(&first[1]))).await;
            assert_eq!(said(&second), ["57", "56", "55"]);
            assert_eq!(history(address, "").await.len(), 50);
            let all = history(address, "?limit=100").await;
            assert_eq!((all.len(), &all[59]["status_msg"]), (60, &json!("0")));
            let rest = history(address, &format!("?before={}", id(&all[59]))).await;
            assert!(rest.is_empty(), "{rest:?}");
            assert_eq!(history(address, &format!("?before={}", i64::MAX)).await.len(), 50);
        });
    }

    fn the_access_line_says_how_many_entries_were_fetched(own: Own) {
        let ended = with_service(own.settings(), async |address| {
            for text in ["one", "two", "three"] {
                say(address, text).await;
            }
            history(address, "?limit=2").await;
        });
        let records = ended.test.records();
        let lines: Vec<_> = records.iter().filter(|record| record.target == "logcontext::access").collect();
        let (last, puts) = lines.split_last().unwrap();
        assert!(last.message.ends_with("[2 dbevts]"), "{}", last.message);
        assert!(puts.iter().all(|line| line.message.ends_with("[0 dbevts]")), "{puts:?}");
        assert!(puts.iter().all(|line| line.field("db_txn_count") == Some("1")), "{puts:?}");
    }

    fn nothing_is_told_of_who_is_unknown(own: Own) {
        with_service(own.settings(), async |address| {
            set(address, "bob", "online").await;
            let answer = ask(address, "GET /presence/alice/history", &[], "");
            refused(answer, 404, "unknown_user", &["nothing is known of alice"]).await;
            refused(ask(address, "GET /presence/A/history", &[], ""), 400, "invalid_user", &["1 to 64"]).await;
            refused(ask(address, "PUT /presence/bob/history", &[], ""), 405, "method_not_allowed", &[]).await;
        });
    }

    fn invalid_pages_are_refused_with_what_was_expected(own: Own) {
        with_service(own.settings(), async |address| {
            set(address, "alice", "online").await;
            let get = async |query: &str, expected: &[&str]| {
                let request = format!("GET /presence/alice/history?{query}");
                refused(ask(address, &request, &[], ""), 400, "invalid_query", expected).await;
            };
            for limit in ["0", "101", "256", "-1", "1.5", "1e1", "", "+", "ten", "%00", "999999999999999999999"] {
                get(&format!("limit={limit}"), &["limit", "from 1 to 100"]).await;
            }
            for before in ["0", "-1", "", "first", "9223372036854775808", "1%20OR%201=1"] {
                get(&format!("before={before}"), &["before", "the id of an entry"]).await;
            }
            for query in ["limit=1&limit=2", "after=3", "limt=5", "%FF=1"] {
                get(query, &["`limit`", "`before`"]).await;
            }
            assert_eq!(history(address, "?limit=%31").await.len(), 1);
        });
    }

    fn all_of_it_survives_a_restart(own: Own) {
        with_service(own.settings(), async |address| {
            set(address, "alice", "online").await;
            say(address, "back soon").await;
        });
        own.assert_nobody_is_connected();
        with_service(own.settings(), async |address| {
            assert_eq!(history(address, "").await.len(), 2);
            let get = ask(address, "GET /presence/alice", &[], "").await.json();
            assert_eq!((&get["presence"], &get["status_msg"]), (&json!("online"), &json!("back soon")));
            say(address, "back soon").await;
            say(address, "back").await;
            assert_eq!(history(address, "").await.len(), 3);
        });
        own.assert_nobody_is_connected();
    }
    fn it_is_pruned_while_the_service_runs(own: Own) {
        let mut settings = own.settings();
        settings.server.history_retention = PositiveTime::from_millis(1);
        settings.server.prune_every = PositiveTime::from_millis(1);
        let ended = with_service(settings, async |address| {
            set(address, "alice", "online").await;
            // Somebody who has not changed for long is known all the same.
            while !history(address, "").await.is_empty() {}
            assert_eq!(ask(address, "GET /presence/alice", &[], "").await.status, 200);
        });
        let pruned = ended.records_of("deleted what is old");
        assert_eq!((pruned.len(), pruned[0].field("entries")), (1, Some("1")), "{pruned:#?}");
        assert_eq!(pruned[0].context.label(), Some("prune_history"));
    }
}

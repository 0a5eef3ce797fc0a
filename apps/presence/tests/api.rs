//! What the service answers, to what is right and to what is not.

mod common;

use common::{Answer, JSON, ask, config, set, with_service};
use presence::service::Config;

#[test]
fn a_presence_is_set_and_read() {
    with_service(config(), async |address| {
        let body = r#"{"presence": "unavailable", "status_msg": "at lunch"}"#;
        let put = ask(address, "PUT /presence/alice", &[JSON, "authorization: Bearer alice"], body).await;
        assert_eq!(put.status, 200, "{put:?}");
        assert!(put.head.contains("content-type: application/json"), "{put:?}");
        let get = ask(address, "GET /presence/alice", &[], "").await.json();
        assert_eq!(get["user"], "alice");
        assert_eq!(get["presence"], "unavailable");
        assert_eq!(get["status_msg"], "at lunch");
        assert!(get["last_active_ago"].as_u64().is_some_and(|ago| ago < 20_000), "{get}");

        set(address, "alice", "online").await;
        let get = ask(address, "GET /presence/alice", &[], "").await.json();
        assert_eq!(get["presence"], "online");
        assert!(get.get("status_msg").is_none(), "{get}");
    });
}

#[test]
fn health_is_plain() {
    with_service(config(), async |address| {
        let answer = ask(address, "GET /health", &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    });
}

#[test]
fn a_request_is_logged_in_its_context_with_its_user() {
    let ended = with_service(config(), async |address| {
        let body = r#"{"presence": "online"}"#;
        ask(address, "PUT /presence/alice", &[JSON, "authorization: Bearer alice"], body).await;
    });
    let records = ended.test.records();
    let set = records.iter().find(|record| record.message == "presence set").unwrap();
    assert!(set.context.name().starts_with("PUT-"), "{set:?}");
    let request = set.context.request().unwrap();
    assert_eq!(request.path(), "/presence/alice");
    assert_eq!(request.user(), Some("alice"));
    assert_eq!(set.context.label().as_deref(), Some("PUT /presence/{user}"));
}

/// Asks, and compares status and code; the error must say all of `expected`.
async fn refused(answer: impl Future<Output = Answer>, status: u16, errcode: &str, expected: &[&str]) {
    let answer = answer.await;
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    let json = answer.json();
    assert_eq!(json["errcode"], errcode, "{answer:?}");
    let error = json["error"].as_str().unwrap();
    for expected in expected {
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

#[test]
fn invalid_users_are_refused() {
    with_service(config(), async |address| {
        let long = format!("GET /presence/{}", "x".repeat(65));
        for request in
            ["GET /presence/Alice", "GET /presence/a%20b", "GET /presence/%FF", "PUT /presence/%2F", &long]
        {
            refused(ask(address, request, &[], ""), 400, "invalid_user", &["1 to 64", "a-z, 0-9"]).await;
        }
        refused(ask(address, "GET /presence/A/stream", &[], ""), 400, "invalid_user", &["1 to 64"]).await;
    });
}

#[test]
fn unknown_users_are_not_found() {
    with_service(config(), async |address| {
        for request in ["GET /presence/bob", "GET /presence/bob/stream"] {
            refused(ask(address, request, &[], ""), 404, "unknown_user", &["nothing is known of bob"]).await;
        }
    });
}

#[test]
fn invalid_bodies_are_refused_with_what_was_expected() {
    with_service(config(), async |address| {
        let put = async |body: &str, errcode: &str, expected: &[&str]| {
            refused(ask(address, "PUT /presence/alice", &[JSON], body), 400, errcode, expected).await;
        };
        put("", "invalid_json", &["expected JSON"]).await;
        put("{", "invalid_json", &["expected JSON", "line 1"]).await;
        put("{}", "invalid_body", &["missing field `presence`"]).await;
        put("[]", "invalid_body", &["an object with `presence`"]).await;
        put(
            r#"{"presence": "away"}"#,
            "invalid_body",
            &["presence", "`online`", "`unavailable`", "`offline`"],
        )
        .await;
        put(r#"{"presence": 1}"#, "invalid_body", &["presence", "a string"]).await;
        put(
            r#"{"presence": "online", "mood": "good"}"#,
            "invalid_body",
            &["`mood`", "`presence` or `status_msg`"],
        )
        .await;
        put(r#"{"presence": "online", "status_msg": 1}"#, "invalid_body", &["status_msg", "a string"]).await;
        let long = format!(r#"{{"presence": "online", "status_msg": "{}"}}"#, "x".repeat(257));
        put(&long, "invalid_body", &["status_msg", "at most 256 characters"]).await;
        put(
            "{\"presence\": \"online\", \"status_msg\": \"a\\u0007\"}",
            "invalid_body",
            &["control character"],
        )
        .await;

        let get = ask(address, "GET /presence/alice", &[], "");
        refused(get, 404, "unknown_user", &[]).await;
    });
}

#[test]
fn a_body_must_be_short_and_say_that_it_is_json() {
    with_service(config(), async |address| {
        let body = r#"{"presence": "online"}"#;
        for headers in [&[][..], &["content-type: text/plain"]] {
            let answer = ask(address, "PUT /presence/alice", headers, body);
            refused(answer, 415, "unsupported_media_type", &["application/json"]).await;
        }
        let long = format!(r#"{{"presence": "online", "status_msg": "{}"}}"#, "x".repeat(5000));
        let answer = ask(address, "PUT /presence/alice", &[JSON], &long);
        refused(answer, 413, "too_large", &["at most 4096 bytes"]).await;
    });
}

#[test]
fn nobody_sets_the_presence_of_others() {
    with_service(config(), async |address| {
        let put = async |authorization: &str, status: u16, errcode: &str, expected: &[&str]| {
            let headers = [JSON, authorization];
            let answer = ask(address, "PUT /presence/alice", &headers, r#"{"presence": "online"}"#);
            refused(answer, status, errcode, expected).await;
        };
        put("authorization: Bearer bob", 403, "forbidden", &["bob cannot", "of alice"]).await;
        put("authorization: Basic YQ==", 401, "invalid_authorization", &["Bearer <user>"]).await;
        put("authorization: Bearer No One", 401, "invalid_authorization", &["Bearer <user>"]).await;
    });
}

#[test]
fn unknown_paths_and_wrong_methods_are_told_what_there_is() {
    with_service(config(), async |address| {
        for request in ["GET /", "GET /presence", "POST /presence/alice/strem", "GET /demo/slow?ms=1"] {
            refused(ask(address, request, &[], ""), 404, "not_found", &["/presence/{user}"]).await;
        }
        let answer = ask(address, "DELETE /presence/alice", &[], "").await;
        assert!(answer.head.contains("allow: get,head,put"), "{answer:?}");
        refused(async { answer }, 405, "method_not_allowed", &["allow header"]).await;
        refused(ask(address, "POST /health", &[], ""), 405, "method_not_allowed", &[]).await;
    });
}

#[test]
fn a_full_service_says_so() {
    with_service(Config { max_users: 1, ..config() }, async |address| {
        set(address, "alice", "online").await;
        set(address, "alice", "offline").await;
        let answer = ask(address, "PUT /presence/bob", &[JSON], r#"{"presence": "online"}"#);
        refused(answer, 503, "too_many_users", &["no room"]).await;
    });
}

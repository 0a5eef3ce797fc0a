//! What the service answers, to what is right and to what is not.

mod common;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use common::{JSON, ask, on_both_databases, refused, set, short_panics, with_service};

on_both_databases! {
    fn a_presence_is_set_and_read(own: Own) {
        with_service(own.settings(), async |address| {
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

    fn health_is_plain(own: Own) {
        with_service(own.settings(), async |address| {
            let answer = ask(address, "GET /health", &[], "").await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
        });
    }

    fn a_request_is_logged_in_its_context_with_its_user(own: Own) {
        let ended = with_service(own.settings(), async |address| {
            let body = r#"{"presence": "online"}"#;
            ask(address, "PUT /presence/alice", &[JSON, "authorization: Bearer alice"], body).await;
        });
        let records = ended.test.records();
        let set = records.iter().find(|record| record.message == "presence set").unwrap();
        assert!(set.context.name().starts_with("PUT-"), "{set:?}");
        let request = set.context.request().unwrap();
        assert_eq!(request.path(), "/presence/alice");
        assert_eq!(request.user(), Some("alice"));
        assert_eq!(set.context.label(), Some("PUT /presence/{user}"));
    }

    fn invalid_users_are_refused(own: Own) {
        with_service(own.settings(), async |address| {
            let long = format!("GET /presence/{}", "x".repeat(65));
            for request in
                ["GET /presence/Alice", "GET /presence/a%20b", "GET /presence/%FF", "PUT /presence/%2F", &long]
            {
                refused(ask(address, request, &[], ""), 400, "invalid_user", &["1 to 64", "a-z, 0-9"]).await;
            }
            refused(ask(address, "GET /presence/A/stream", &[], ""), 400, "invalid_user", &["1 to 64"]).await;
        });
    }

    fn unknown_users_are_not_found(own: Own) {
        with_service(own.settings(), async |address| {
            for request in ["GET /presence/bob", "GET /presence/bob/stream"] {
                refused(ask(address, request, &[], ""), 404, "unknown_user", &["nothing is known of bob"]).await;
            }
        });
    }

    fn invalid_bodies_are_refused_with_what_was_expected(own: Own) {
        with_service(own.settings(), async |address| {
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

    fn a_body_must_be_short_and_say_that_it_is_json(own: Own) {
        with_service(own.settings(), async |address| {
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

    fn nobody_sets_the_presence_of_others(own: Own) {
        with_service(own.settings(), async |address| {
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

    fn unknown_paths_and_wrong_methods_are_told_what_there_is(own: Own) {
        with_service(own.settings(), async |address| {
            for request in ["GET /", "GET /presence", "POST /presence/alice/strem", "GET /demo/slow?ms=1"] {
                refused(ask(address, request, &[], ""), 404, "not_found", &["/presence/{user}"]).await;
            }
            let answer = ask(address, "DELETE /presence/alice", &[], "").await;
            assert!(answer.head.contains("allow: get,head,put"), "{answer:?}");
            refused(async { answer }, 405, "method_not_allowed", &["allow header"]).await;
            refused(ask(address, "POST /health", &[], ""), 405, "method_not_allowed", &[]).await;
        });
    }

    fn a_full_service_says_so(own: Own) {
        let mut settings = own.settings();
        settings.database.max_users = 1;
        with_service(settings, async |address| {
            set(address, "alice", "online").await;
            set(address, "alice", "offline").await;
            let answer = ask(address, "PUT /presence/bob", &[JSON], r#"{"presence": "online"}"#);
            refused(answer, 503, "too_many_users", &["no room"]).await;
        });
    }
    fn every_response_says_who_answers_which_request_and_what_it_cost(own: Own) {
        with_service(own.settings(), async |address| {
            for request in ["GET /presence/bob", "GET /nowhere", "DELETE /presence/bob", "GET /health"] {
                let answer = ask(address, request, &["x-request-id: 7f3a-09"], "").await;
                let version = env!("CARGO_PKG_VERSION");
                for expected in [&*format!("server: presence/{version}"), "x-request-id: 7f3a-09", "total;dur="] {
                    assert!(answer.head.contains(expected), "{expected:?} is not in {answer:?}");
                }
            }
        });
    }
    fn a_handler_that_panics_is_answered_like_any_error_and_told_once(own: Own) {
        short_panics();
        let routes = Router::new().route("/panic", get(async || -> StatusCode { panic!("planned") }));
        let ended = common::run(logcontext::testing::start(), own.settings(), routes, async |_, address, stop| {
            let answer = ask(address, "GET /panic", &[], "").await;
            assert!(answer.head.contains("server: presence/"), "{answer:?}");
            assert!(!answer.body.contains("planned"), "{answer:?}");
            refused(async { answer }, 500, "internal", &["the log"]).await;
            stop.send(()).unwrap();
        });
        let errors = ended.test.records_at(tracing::Level::ERROR);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].message.contains("planned") && errors[0].context.name() == "GET-1", "{errors:#?}");
    }
}

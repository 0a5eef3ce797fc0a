//! What a server tells of itself, and to whom.

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::{ask, body, on_both, settings, status};
use logcontext::RemoteUsage;
use logcontext_service::{AdminAddress, ListenAddress, StartError};
use serde_json::Value;

#[test]
fn it_tells_metrics_health_readiness_and_what_runs() {
    on_both(settings, async |running| {
        assert_eq!(status(&running.get("/").await), 200);
        assert_eq!(body(&running.admin("/health").await), "ok\n");
        assert_eq!(body(&running.admin("/ready").await), "ready\n");
        let metrics = running.admin("/metrics").await;
        assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.contains(r#"logcontext_requests_total{label="GET /",outcome="ok"} 1"#), "{metrics}");
        let contexts: Value = serde_json::from_str(body(&running.admin("/contexts").await)).unwrap();
        let rows = contexts["contexts"].as_array().unwrap();
        assert_eq!(contexts["total"].as_u64().unwrap(), rows.len() as u64);
        let asking = rows.iter().find(|row| row["request"]["path"] == "/contexts").unwrap();
        assert_eq!((&asking["label"], &asking["kind"]), (&"GET /contexts".into(), &"request".into()));
        let background: Value = serde_json::from_str(body(&running.admin("/background").await)).unwrap();
        let rows = background["background"].as_array().unwrap();
        let keep = rows.iter().find(|row| row["name"] == "keep").unwrap();
        assert_eq!(keep["context"]["name"], "keep-0");
        assert!(keep["context"]["cpu_user_seconds"].is_number());
        // Loops wait in the sentinel, of which there is nothing to tell.
        let tick = rows.iter().find(|row| row["name"] == "tick").unwrap();
        assert_eq!(tick["context"], serde_json::json!({ "name": "sentinel" }));
        assert!(keep["started_at"].as_str().unwrap().contains("greeter.rs:"), "{keep}");
        for (path, expected) in [("/", 404), ("/contexts?limit=x", 400), ("/contexts?no=1", 400)] {
            assert_eq!(status(&running.admin(path).await), expected, "{path}");
        }
        let few: Value = serde_json::from_str(body(&running.admin("/contexts?limit=1").await)).unwrap();
        assert_eq!(few["contexts"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn it_tells_what_was_caused_elsewhere() {
    on_both(settings, async |running| {
        let context = running.test.supervisor().context("calls-1").start();
        let contexts = async || -> Value {
            let all: Value = serde_json::from_str(body(&running.admin("/contexts").await)).unwrap();
            let rows = all["contexts"].as_array().unwrap();
            rows.iter().find(|row| row["name"] == "calls-1").unwrap().clone()
        };
        assert!(contexts().await.get("remote_calls").is_none());
        let cost = RemoteUsage::call().with_cpu(Duration::from_millis(250));
        context.record_remote(&cost.with_db_txns(2, Duration::from_millis(500)));
        context.record_remote(&RemoteUsage::unknown());
        let row = contexts().await;
        assert_eq!((&row["remote_calls"], &row["remote_unknown"]), (&1.into(), &1.into()));
        assert_eq!((&row["remote_cpu_seconds"], &row["remote_db_transactions"]), (&0.25.into(), &2.into()));
        assert_eq!(row["remote_db_transaction_seconds"], 0.5);
        assert!(row.get("remote_db_wait_seconds").is_none(), "nobody has told");
        context.finish();
    });
}

#[test]
fn it_says_on_every_answer_who_answers() {
    on_both(settings, async |running| {
        for path in ["/", "/panic", "/nowhere"] {
            let answer = running.get(path).await;
            assert!(answer.contains("server: greeter/1.2.3\r\n"), "{answer}");
        }
        for path in ["/metrics", "/health", "/nowhere"] {
            assert!(running.admin(path).await.contains("server: greeter/1.2.3\r\n"));
        }
    });
}

#[test]
fn a_token_guards_all_but_health_and_readiness() {
    let settings = || {
        let mut settings = settings();
        settings.service.admin.token = Some("s3cret".parse().unwrap());
        settings
    };
    let ended = on_both(settings, async |running| {
        let admin = running.admin.clone().unwrap();
        for path in ["/health", "/ready"] {
            assert_eq!(status(&running.admin(path).await), 200, "{path}");
        }
        for path in ["/metrics", "/status", "/contexts", "/background"] {
            let refused = running.admin(path).await;
            assert_eq!(status(&refused), 401, "{path}");
            assert!(
                refused.contains("www-authenticate: Bearer\r\n") && !refused.contains("s3cret"),
                "{refused}"
            );
            let request = format!("GET {path}");
            let wrong = ask(&admin, &request, &["authorization: Bearer s3creT"], "").await;
            assert_eq!(status(&wrong), 401, "{path}");
            let right = ask(&admin, &request, &["authorization: Bearer s3cret"], "").await;
            assert_eq!(status(&right), 200, "{path}");
        }
    });
    for ended in ended {
        let records = format!("{:?}", ended.test.records());
        assert!(!records.contains("s3cret"), "{records}");
    }
}

#[test]
fn a_page_from_elsewhere_cannot_have_a_browser_read_it() {
    on_both(settings, async |running| {
        let admin = common::tcp(running.admin.as_ref().unwrap());
        for (host, expected) in [("evil.example", 421), ("localhost:1234", 200)] {
            let stream = tokio::net::TcpStream::connect(admin).await.unwrap();
            let text = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            assert_eq!(status(&common::exchange(stream, &text).await), expected, "{host}");
        }
    });
}

#[test]
fn it_is_ready_while_its_datastore_is() {
    let ended = on_both(settings, async |running| {
        let answer = async |broken| {
            running.memory.broken.store(broken, SeqCst);
            let answer = running.admin("/ready").await;
            (status(&answer), body(&answer).to_owned())
        };
        assert_eq!(answer(1).await, (503, "the datastore cannot be used\n".to_owned()));
        assert_eq!(answer(2).await, (503, "the datastore does not answer\n".to_owned()));
        assert_eq!(answer(0).await, (200, "ready\n".to_owned()));
        assert_eq!(body(&running.admin("/health").await), "ok\n");
    });
    for ended in ended {
        let told = ended.test.records_at(tracing::Level::WARN);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told.iter().all(|record| record.context.label() == Some("GET /ready")), "{told:#?}");
    }
}

#[test]
fn it_still_tells_while_requests_are_drained() {
    on_both(settings, async |running| {
        let slow = common::text("GET /slow", &[], "");
        let stream = tokio::net::TcpStream::connect(common::tcp(running.address())).await.unwrap();
        let slow = common::exchange(stream, &slow);
        let memory = running.memory.clone();
        let looking = async {
            memory.gates.arrived.notified().await;
            running.stop();
            loop {
                let answer = running.admin("/ready").await;
                if status(&answer) == 503 {
                    assert_eq!(body(&answer), "shutting down\n");
                    break;
                }
            }
            let metrics = running.admin("/metrics").await;
            assert!(metrics.contains(r#"logcontext_requests_in_flight{label="GET /slow"} 1"#), "{metrics}");
            memory.gates.go_on.notify_one();
        };
        let (answer, ()) = tokio::join!(slow, looking);
        assert_eq!(status(&answer), 200);
    });
}

#[test]
fn it_may_be_a_socket_whatever_its_clients_call_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let settings = || {
        let mut settings = settings();
        settings.service.admin.address = Some(ListenAddress::Unix(path.clone()).into());
        settings
    };
    on_both(settings, async |_| {
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let text = "GET /metrics HTTP/1.1\r\nhost: any.example\r\nconnection: close\r\n\r\n";
        assert_eq!(status(&common::exchange(stream, text).await), 200);
    });
    assert!(!path.exists());
}

#[test]
fn it_can_be_off() {
    let settings = || {
        let mut settings = settings();
        settings.service.admin.address = Some(AdminAddress::Off);
        settings
    };
    on_both(settings, async |running| assert!(running.admin.is_none()));
}

#[test]
fn where_others_reach_it_it_needs_a_token() {
    let test = logcontext::testing::start();
    let mut settings = settings();
    settings.service.admin.address = Some("0.0.0.0:0".parse().unwrap());
    let error = common::current_thread(&test).block_on(common::start(&test, settings)).err().unwrap();
    assert!(matches!(error, StartError::Exposed(_)), "{error}");
    assert!(error.to_string().contains("admin.token") && error.to_string().contains("0.0.0.0:0"), "{error}");
}

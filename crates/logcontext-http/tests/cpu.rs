//! Who pays for what: the handler and the body for themselves, the connection for reading, parsing and writing.

#![cfg(all(feature = "axum", feature = "server", target_os = "linux"))]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{MethodRouter, get};
use http_body_util::BodyExt;
use logcontext::bench::thread_cpu_nanos;
use logcontext::testing::Test;
use logcontext::{ContextKind, testing};
use logcontext_http::ContextLayer;
use support::*;

/// Burns CPU until the thread's clock has advanced by so much; answers by how much it has, in seconds.
fn burn(cpu: Duration) -> f64 {
    let start = thread_cpu_nanos().unwrap();
    loop {
        std::hint::spin_loop();
        let burned = Duration::from_nanos(thread_cpu_nanos().unwrap() - start);
        if burned >= cpu {
            return burned.as_secs_f64();
        }
    }
}

#[track_caller]
fn assert_charged(charged: f64, burned: f64) {
    // On top of what was burned there is what it takes to get there.
    assert!((burned * 0.97..burned * 1.05).contains(&charged), "{charged} s charged, {burned} s burned");
}

fn cpu(test: &Test, kind: ContextKind, label: &str) -> f64 {
    totals(test, kind, label).usage.cpu().unwrap().as_secs_f64()
}

/// Burns so much in each of 20 polls, and notes how much that was.
fn burning(cpu: Duration, burned: &Arc<Mutex<Vec<f64>>>) -> MethodRouter {
    let burned = Arc::clone(burned);
    get(async move || {
        let mut sum = 0.0;
        for _ in 0..20 {
            sum += burn(cpu);
            tokio::task::yield_now().await;
        }
        burned.lock().unwrap().push(sum);
    })
}

#[test]
fn cpu_burned_in_a_handler_is_the_requests_and_its_labels() {
    let test = testing::start();
    let burned = Arc::default();
    let connections = || cpu(&test, ContextKind::Connection, "http");
    let mut more = 0.0;
    for (runtime, label) in runtimes(&test).iter().zip(["/one", "/several"]) {
        let app = Router::new()
            .route(label, burning(Duration::from_millis(1), &burned))
            .route("/idle", burning(Duration::ZERO, &Arc::default()))
            .layer(ContextLayer::new());
        runtime.block_on(async {
            let server = Server::start(&test, app).await;
            // What runs for the first time is read from the disk first: not in what is compared.
            server.get("/idle").await;
            let mut asked = [connections(), 0.0, 0.0];
            for (i, path) in [(1, "/idle"), (2, label)] {
                for _ in 0..10 {
                    server.get(path).await;
                }
                asked[i] = connections();
            }
            assert!(asked.is_sorted_by(|a, b| a < b), "connections cost something: {asked:?}");
            more += (asked[2] - asked[1]) - (asked[1] - asked[0]);
        });
    }
    let burned = burned.lock().unwrap();
    for (label, burned) in ["GET /one", "GET /several"].iter().zip(burned.chunks(10)) {
        assert_charged(cpu(&test, ContextKind::Request, label), burned.iter().sum());
    }
    let mut lines = access_lines(&test);
    lines.retain(|line| !line.message.contains("GET /idle "));
    assert_eq!(lines.len(), burned.len());
    for (line, burned) in lines.iter().zip(&*burned) {
        let seconds = |field| line.field(field).unwrap().parse::<f64>().unwrap();
        assert_charged(seconds("cpu_user_seconds") + seconds("cpu_system_seconds"), *burned);
    }
    // What a connection costs by itself depends on the machine and the compiler; what its requests burn is none of
    // it. More it is all the same: after a long burst the caches are cold.
    let requests = burned.iter().sum::<f64>();
    assert!(more < requests / 20.0, "{more} s more for 20 connections");
}

#[test]
fn cpu_burned_in_a_body_is_the_requests() {
    let test = testing::start();
    let burned = Arc::new(Mutex::new(0.0));
    let handler = {
        let burned = Arc::clone(&burned);
        || async {
            Body::new(BodyExt::map_frame(streamed(&["a", "b", "c"]), move |frame| {
                *burned.lock().unwrap() += burn(Duration::from_millis(5));
                frame
            }))
        }
    };
    let app = Router::new().route("/", get(handler)).layer(ContextLayer::new());
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        server.get("/").await;
        server.stop().await;
    });
    assert_charged(cpu(&test, ContextKind::Request, "GET /"), *burned.lock().unwrap());
}

#[test]
fn reading_and_parsing_are_the_connections() {
    let test = testing::start();
    let app = Router::new().route("/", get(|| async { "ok" })).layer(ContextLayer::new());
    let headers: String = (0..90).map(|i| format!("x-header-{i}: {}\r\n", "v".repeat(200))).collect();
    runtime(&test).block_on(async {
        let server = Server::start(&test, app).await;
        let mut client = server.connect().await;
        for _ in 0..300 {
            client.send("GET /", &headers).await;
            client.until("ok").await;
        }
        server.stop().await;
    });
    let (request, connection) =
        (cpu(&test, ContextKind::Request, "GET /"), cpu(&test, ContextKind::Connection, "http"));
    assert!(connection > 3.0 * request, "connection {connection} s, requests {request} s");
}

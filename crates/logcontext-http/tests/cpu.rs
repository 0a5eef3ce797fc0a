//! Who pays for what: the handler and the body for themselves, the connection for reading, parsing and writing.

#![cfg(all(feature = "axum", feature = "server", target_os = "linux"))]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
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

#[test]
fn cpu_burned_in_a_handler_is_the_requests_and_its_labels() {
    let test = testing::start();
    let burned = Arc::new(Mutex::new(Vec::new()));
    for (runtime, label) in runtimes(&test).iter().zip(["/one", "/several"]) {
        let burned = Arc::clone(&burned);
        let handler = move || async move {
            let mut sum = 0.0;
            for _ in 0..20 {
                sum += burn(Duration::from_micros(500));
                tokio::task::yield_now().await;
            }
            burned.lock().unwrap().push(sum);
        };
        let app = Router::new().route(label, get(handler)).layer(ContextLayer::new());
        runtime.block_on(async {
            let server = Server::start(&test, app).await;
            for _ in 0..10 {
                server.get(label).await;
            }
        });
    }
    let burned = burned.lock().unwrap();
    for (label, burned) in ["GET /one", "GET /several"].iter().zip(burned.chunks(10)) {
        assert_charged(cpu(&test, ContextKind::Request, label), burned.iter().sum());
    }
    for (line, burned) in access_lines(&test).iter().zip(&*burned) {
        let seconds = |field| line.field(field).unwrap().parse::<f64>().unwrap();
        assert_charged(seconds("cpu_user_seconds") + seconds("cpu_system_seconds"), *burned);
    }
    let (connections, requests) = (cpu(&test, ContextKind::Connection, "http"), burned.iter().sum::<f64>());
    assert!(connections > 0.0 && connections < requests / 4.0, "{connections} s for 20 connections");
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

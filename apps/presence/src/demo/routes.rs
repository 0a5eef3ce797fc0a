//! Routes that misbehave, each in its own way. The demo has them, `presence serve` has not.

use std::fmt::Display;
use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use logcontext::{background, run_in_background, spawn_blocking};
use serde::Deserialize;

use crate::api::ApiError;

/// `?ms=5`: for how long.
#[derive(Debug, Deserialize)]
struct For {
    ms: u16,
}

impl For {
    fn time(&self) -> Duration {
        Duration::from_millis(self.ms.into())
    }
}

/// The routes under `/demo`.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/demo/burn", post(async |Query(time): Query<For>| burn_user(time.time())))
        .route("/demo/burn_system", post(async |Query(time): Query<For>| burn_system(time.time())))
        .route("/demo/block", post(async |Query(time): Query<For>| std::thread::sleep(time.time())))
        .route("/demo/slow", get(async |Query(time): Query<For>| tokio::time::sleep(time.time()).await))
        .route("/demo/fail", get(fail))
        .route("/demo/panic", get(panic))
        .route("/demo/hash", post(hash))
        .route("/demo/follow", post(follow))
        .route("/demo/notify", post(notify))
        .route("/demo/notify_nobody", post(notify_nobody))
}

async fn fail() -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "demo", "this one always fails")
}

async fn panic() -> StatusCode {
    panic!("this one always panics")
}

/// CPU that does not belong on an executor, where it does: charged to the request all the same.
async fn hash() -> Result<String, ApiError> {
    let sum = spawn_blocking(|| burn_user(Duration::from_millis(3))).await;
    sum.map_err(|_| ApiError::internal())
}

/// Work of the request that outlives it: still the request's.
async fn follow() -> StatusCode {
    run_in_background(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        burn_user(Duration::from_millis(1));
        tracing::debug!("followed up");
    });
    StatusCode::ACCEPTED
}

/// Work that a request starts, but that stands for itself.
async fn notify() -> StatusCode {
    background::run("notify", async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        burn_user(Duration::from_millis(1));
    });
    StatusCode::ACCEPTED
}

/// The same, failing: nobody waits for it, and its failure is in the log.
async fn notify_nobody() -> StatusCode {
    background::run("notify_nobody", async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Err::<(), _>("nobody there")
    });
    StatusCode::ACCEPTED
}

fn burn_user(time: Duration) -> String {
    let until = Instant::now() + time;
    let mut sum = 0_u64;
    while Instant::now() < until {
        sum = (0..1000).fold(sum, |sum, n| black_box(sum.rotate_left(5) ^ n));
    }
    answer(sum)
}

fn burn_system(time: Duration) -> String {
    let until = Instant::now() + time;
    let mut calls = 0_u64;
    while Instant::now() < until {
        calls += u64::from(std::fs::metadata("/").is_ok());
    }
    answer(calls)
}

fn answer(value: impl Display) -> String {
    format!("{value}\n")
}

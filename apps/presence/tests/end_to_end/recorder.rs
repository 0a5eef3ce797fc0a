//! A hub that writes down what it is told, and is away now and then.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use serde_json::Value;

/// What one request said.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) body: Bytes,
    /// So many were being answered when it came.
    pub(crate) beside: usize,
    /// It was refused, as if this hub was away.
    pub(crate) was_refused: bool,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Vec<Told>>,
    is_away: AtomicBool,
    in_flight: AtomicUsize,
}

pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::<Shared>::default();
        let routes =
            Router::new().route("/_federation/send/{id}", put(write_down)).with_state(Arc::clone(&shared));
        let listener = runtime.block_on(tokio::net::TcpListener::bind(super::ports::free())).unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "it is no service of ours")]
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, shared, _runtime: runtime }
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.shared.is_away.store(is_away, SeqCst);
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.shared.told.lock().unwrap().clone()
    }
}

/// Whoever is killed while it waits for the answer takes the handler along.
struct Answered<'a>(&'a Shared);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

async fn write_down(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> (StatusCode, String) {
    let beside = shared.in_flight.fetch_add(1, SeqCst);
    let _answered = Answered(&shared);
    // Longer than nothing: so that what comes meanwhile is sent together.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let was_refused = shared.is_away.load(SeqCst);
    let states = serde_json::from_slice::<Value>(&body).ok();
    let count = states.and_then(|body| Some(body["states"].as_array()?.len())).unwrap_or_default();
    shared.told.lock().unwrap().push(Told { id, body, beside, was_refused });
    if was_refused {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    (StatusCode::OK, format!(r#"{{"accepted":{count},"stale":0}}"#))
}

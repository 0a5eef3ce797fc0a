//! All hubs that are told: one server, which knows them by their secrets, and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::put;
use tokio::runtime::Handle;

/// As long as something comes, it may take as long as it takes.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) struct Hubs {
    pub(super) address: SocketAddr,
    counts: Arc<[Counts]>,
}

/// What one hub was told.
#[derive(Default)]
struct Counts {
    states: AtomicU64,
    transactions: AtomicU64,
}

impl Hubs {
    pub(super) async fn start(count: usize) -> Result<Self> {
        let counts: Arc<[Counts]> = (0..count).map(|_| Counts::default()).collect();
        let routes = Router::new().route("/_federation/send/{id}", put(told)).with_state(Arc::clone(&counts));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        #[expect(clippy::disallowed_methods, reason = "it is not what is measured")]
        Handle::current().spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, counts })
    }

    /// As the sender's configuration names them.
    pub(super) fn config(&self) -> String {
        let hub = |n| {
            let address = self.address;
            format!(
                "[presence.federation.hubs.hub-{n}]\nurl = \"http://{address}\"\nsecret = \"{n}\"\nfollows_all = true\n"
            )
        };
        (0..self.counts.len()).map(hub).collect()
    }

    /// States and transactions so far, over all hubs.
    pub(super) fn told(&self) -> (u64, u64) {
        let sum = |get: fn(&Counts) -> &AtomicU64| self.counts.iter().map(|hub| get(hub).load(Relaxed)).sum();
        (sum(|hub| &hub.states), sum(|hub| &hub.transactions))
    }

    /// Waits until each hub was told so many states.
    pub(super) async fn wait_for(&self, states: u64) -> Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        while self.counts.iter().any(|hub| hub.states.load(Relaxed) < states) {
            let told = self.told().0;
            if told > last {
                (last, since) = (told, Instant::now());
            }
            ensure!(since.elapsed() < SILENCE, "the hubs were told {told} states, and no more come");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

async fn told(State(hubs): State<Arc<[Counts]>>, headers: HeaderMap, body: Bytes) -> Result<String, String> {
    count(&hubs, &headers, &body).map_err(|error| error.to_string())
}

fn count(hubs: &[Counts], headers: &HeaderMap, body: &[u8]) -> Result<String> {
    let secret = headers.get(AUTHORIZATION).context("a secret")?.to_str()?;
    let number: usize = secret.strip_prefix("Bearer ").context("a bearer's")?.parse()?;
    let hub = hubs.get(number).context("of a hub")?;
    // No user's name has a quote in it.
    let states = body.windows(7).filter(|text| text == b"\"user\":").count();
    hub.states.fetch_add(states as u64, Relaxed);
    hub.transactions.fetch_add(1, Relaxed);
    Ok(format!(r#"{{"accepted":{states},"stale":0}}"#))
}

//! Clients that change presences, each those of its own users, and note what was acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::sleep;

use crate::demo::client::Client;
use crate::user::UserId;

/// Between two changes of a client.
const PAUSE: Duration = Duration::from_millis(2);
/// How often a change is tried, at one API process after the other.
const TRIES: u32 = 12;

/// What all clients count while they run.
#[derive(Debug, Default)]
pub(super) struct Counts {
    over: AtomicBool,
    pub(super) acknowledged: AtomicU64,
    pub(super) tried_again: AtomicU64,
    pub(super) not_acknowledged: AtomicU64,
}

impl Counts {
    /// Tells the clients to come to an end.
    pub(super) fn end(&self) {
        self.over.store(true, Relaxed);
    }
}

/// A user, and the changes that were acknowledged: their numbers, which only grow.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) user: UserId,
    last: u64,
    pub(super) acknowledged: Vec<u64>,
}

impl Changed {
    pub(super) fn new(user: UserId) -> Self {
        Self { user, last: 0, acknowledged: Vec::new() }
    }
}

/// What somebody says with their change of this number.
pub(super) fn message(n: u64) -> String {
    format!("change {n}")
}

/// The number of the change that somebody says this with.
pub(super) fn number(message: &str) -> Option<u64> {
    message.strip_prefix("change ")?.parse().ok()
}

/// One after the other until the end. Answers what was acknowledged.
///
/// # Errors
/// If an answer is none that a service gives that is away or busy.
pub(super) async fn change(
    api: Vec<SocketAddr>,
    mut users: Vec<Changed>,
    counts: Arc<Counts>,
    first: usize,
) -> anyhow::Result<Vec<Changed>> {
    let mut clients: Vec<_> = api.into_iter().map(Client::new).collect();
    let mut turn = first;
    for round in 0.. {
        if counts.over.load(Relaxed) || users.is_empty() {
            break;
        }
        let at = round % users.len();
        let changed = &mut users[at];
        changed.last += 1;
        for tries in 1.. {
            turn += 1;
            let at = turn % clients.len();
            match set(&mut clients[at], &changed.user, changed.last).await? {
                Ok(()) => {
                    counts.acknowledged.fetch_add(1, Relaxed);
                    changed.acknowledged.push(changed.last);
                    break;
                }
                Err(error) if tries >= TRIES => {
                    tracing::warn!(%error, user = %changed.user, "a change was not acknowledged");
                    counts.not_acknowledged.fetch_add(1, Relaxed);
                    break;
                }
                Err(error) => {
                    tracing::info!(%error, user = %changed.user, "trying a change again");
                    counts.tried_again.fetch_add(1, Relaxed);
                    sleep(PAUSE * 2_u32.pow(tries.min(8))).await;
                }
            }
        }
        sleep(PAUSE).await;
    }
    Ok(users)
}

/// The inner error is one that goes away.
async fn set(client: &mut Client, user: &UserId, n: u64) -> anyhow::Result<Result<(), anyhow::Error>> {
    let presence = if n.is_multiple_of(2) { "unavailable" } else { "online" };
    let body = format!(r#"{{"presence": "{presence}", "status_msg": "{}"}}"#, message(n));
    let path = format!("/presence/{user}");
    match client.request("PUT", &path, user.as_str(), body.into()).await {
        Ok((200, _)) => Ok(Ok(())),
        Ok((status @ 500.., _)) => Ok(Err(anyhow::anyhow!("status {status}"))),
        Ok((status, body)) => {
            let body = crate::show::plain(&String::from_utf8_lossy(&body));
            Err(anyhow::anyhow!("PUT {path}: expected 200, got {status} {body}"))
        }
        Err(error) => Ok(Err(error)),
    }
}

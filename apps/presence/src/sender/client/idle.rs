//! Connections that wait for the next transaction.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// So many are kept, one of each hub.
const MOST: usize = 128;

/// So long: hubs close theirs after a while.
const LONGEST: Duration = Duration::from_secs(30);

/// Connections by host and port. Those that are too old go when others come.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<HashMap<Box<str>, Kept>>);

#[derive(Debug)]
struct Kept {
    connection: Connection,
    since: Instant,
}

impl Idle {
    pub(super) fn take(&self, authority: &str) -> Option<Connection> {
        let kept = self.lock().remove(authority)?;
        (kept.since.elapsed() < LONGEST).then_some(kept.connection)
    }

    pub(super) fn put(&self, authority: &str, connection: Connection) {
        let mut kept = self.lock();
        if kept.len() >= MOST {
            kept.retain(|_, kept| kept.since.elapsed() < LONGEST);
        }
        if kept.len() < MOST {
            kept.insert(authority.into(), Kept { connection, since: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

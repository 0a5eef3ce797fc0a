//! What all shards of a sender share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use logcontext::Supervisor;
use tokio::sync::Semaphore;

use super::backoff::Backoff;
use super::client::Client;
use super::figures::Figures;
use crate::federation::FederationSettings;
use crate::store::Store;

/// So many transactions are under way at once, of all destinations.
const SENDING: usize = 256;

/// So many destinations catch up side by side; the others wait for their turn.
const CATCHING_UP: usize = 16;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    pub(super) supervisor: Supervisor,
    pub(super) client: Client,
    pub(super) figures: Arc<Figures>,
    pub(super) backoff: Backoff,
    pub(super) timeout: Duration,
    pub(super) stale_after: Duration,
    /// Whether the broker keeps what it is told when this process ends.
    pub(super) is_kept: bool,
    pub(super) sending: Semaphore,
    pub(super) catching_up: Semaphore,
    /// No other process has it.
    process: u64,
    transactions: AtomicU64,
}

impl Shared {
    pub(super) fn new(store: &Arc<Store>, settings: &FederationSettings, is_kept: bool) -> Self {
        Self {
            store: Arc::clone(store),
            supervisor: Supervisor::current(),
            client: Client::default(),
            figures: Arc::new(Figures::new()),
            backoff: Backoff { first: settings.retry_first.get(), limit: settings.retry_limit.get() },
            timeout: settings.timeout.get(),
            stale_after: settings.stale_after.get(),
            is_kept,
            sending: Semaphore::new(SENDING),
            catching_up: Semaphore::new(CATCHING_UP),
            process: fastrand::u64(..),
            transactions: AtomicU64::new(0),
        }
    }

    /// An id that no other transaction has.
    pub(super) fn next_transaction(&self) -> String {
        format!("{:016x}-{}", self.process, self.transactions.fetch_add(1, Relaxed))
    }
}

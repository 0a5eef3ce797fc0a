//! [`Readiness`]: whether it makes sense to send requests here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::timeout;

use crate::error::one_line;
use crate::server::Datastore;

/// How long the datastore may take to answer: who asks for readiness does not wait for long.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Readiness<D> {
    is_ending: AtomicBool,
    datastore: Arc<D>,
}

impl<D: Datastore> Readiness<D> {
    /// Of a server that answers.
    pub(crate) fn new(datastore: Arc<D>) -> Self {
        Self { is_ending: AtomicBool::new(false), datastore }
    }

    /// It was told to end.
    pub(crate) fn ends(&self) {
        self.is_ending.store(true, Relaxed);
    }

    /// # Errors
    /// Why not; for anybody to know.
    pub(super) async fn check(&self) -> Result<(), &'static str> {
        if self.is_ending.load(Relaxed) {
            return Err("shutting down\n");
        }
        match timeout(PATIENCE, self.datastore.check()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(error = one_line(&*error), "not ready: the datastore cannot be used");
                Err("the datastore cannot be used\n")
            }
            Err(_) => {
                tracing::warn!(after = ?PATIENCE, "not ready: the datastore does not answer");
                Err("the datastore does not answer\n")
            }
        }
    }
}

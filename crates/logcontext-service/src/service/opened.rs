//! [`Opened`]: a datastore that is closed, whatever becomes of who has opened it.

use std::sync::Arc;
use std::time::Duration;

use logcontext::{Supervisor, run_in_background};
use tokio::runtime::Handle;

use crate::server::Datastore;

/// How long a datastore may take to close where nobody has said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Dropped, because somebody does not wait any more for its start or its end, it closes the datastore in the
/// background, for which the shutdown of its supervisor waits.
pub(super) struct Opened<D: Datastore> {
    supervisor: Supervisor,
    datastore: Arc<D>,
    is_open: bool,
}

impl<D: Datastore> Opened<D> {
    pub(super) fn new(datastore: D) -> Self {
        Self { supervisor: Supervisor::current(), datastore: Arc::new(datastore), is_open: true }
    }

    pub(super) fn get(&self) -> &Arc<D> {
        &self.datastore
    }

    /// Answers how many connections are open still.
    pub(super) async fn close(mut self, deadline: Duration) -> usize {
        let left_open = self.datastore.close(deadline).await;
        self.is_open = false;
        left_open
    }

    pub(super) async fn close_early(self) {
        self.close(PATIENCE).await;
    }
}

impl<D: Datastore> Drop for Opened<D> {
    fn drop(&mut self) {
        // Where there is no runtime left, what needs one is gone.
        if !self.is_open || Handle::try_current().is_err() {
            return;
        }
        let datastore = Arc::clone(&self.datastore);
        let context = self.supervisor.context("close").start();
        context.scope(|| {
            run_in_background(async move {
                datastore.close(PATIENCE).await;
            })
        });
        context.finish();
    }
}

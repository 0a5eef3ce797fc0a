//! Ends the waits whose time is over.

use std::sync::Arc;

use logcontext::{FutureExt, LogContext};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::transport::Inbox;

/// The task that ends waits whose time is over, until this is dropped.
#[derive(Debug)]
pub(crate) struct Sweeping(AbortHandle);

impl Sweeping {
    /// Begins, on this runtime.
    pub(crate) fn begin(inbox: Arc<Inbox>, runtime: &Handle) -> Self {
        // Made here: a task that is never polled, because its runtime ends, has ended as well.
        let last = Last(inbox);
        let sweeping = async move { last.sweep().await };
        // Looking at the clock is nobody's work; and it goes on while handlers drain, which may call to the last.
        #[expect(clippy::disallowed_methods, reason = "is in the sentinel on purpose")]
        let task = runtime.spawn(sweeping.in_context(LogContext::sentinel()));
        Self(task.abort_handle())
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Nobody waits for what will not come: without a sweeper there are no deadlines.
struct Last(Arc<Inbox>);

impl Last {
    async fn sweep(&self) {
        let waits = self.0.waits();
        loop {
            let next = waits.sweep(Instant::now());
            let sooner = waits.sooner.notified();
            match next {
                Some(next) => tokio::select! {
                    () = sooner => {}
                    () = sleep_until(next) => {}
                },
                None => sooner.await,
            }
        }
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.0.close();
    }
}

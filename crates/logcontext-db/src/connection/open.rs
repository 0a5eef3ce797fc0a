//! [`OpenConnections`]: how many there are, for whoever waits until none is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[cfg(feature = "sqlite")]
use tokio::sync::Mutex;
use tokio::sync::Notify;

/// How many connections are open, or being opened or closed.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    open: AtomicUsize,
    none_left: Notify,
    /// For those that must be closed one after the other.
    #[cfg(feature = "sqlite")]
    pub(super) closing: Mutex<()>,
}

impl OpenConnections {
    pub(crate) fn count(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, SeqCst);
        Counted(Arc::clone(self))
    }

    pub(crate) fn get(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub(crate) async fn all_gone(&self) {
        loop {
            let notified = self.none_left.notified();
            tokio::pin!(notified);
            // Before looking: what goes in between is heard of.
            notified.as_mut().enable();
            if self.get() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// One of them. Dropped last of all that belongs to the connection.
#[derive(Debug)]
pub(crate) struct Counted(Arc<OpenConnections>);

impl Counted {
    #[cfg(feature = "sqlite")]
    pub(super) fn all(&self) -> Arc<OpenConnections> {
        Arc::clone(&self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, SeqCst) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

//! How many handlers run: who serves nested calls goes on until there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

/// The handlers of one bus, of events and calls alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handlers(Arc<State>);

#[derive(Debug, Default)]
struct State {
    running: AtomicUsize,
    none: Notify,
}

/// A handler that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct RunningHandler(Arc<State>);

impl Handlers {
    /// One more.
    pub(crate) fn begin(&self) -> RunningHandler {
        self.0.running.fetch_add(1, SeqCst);
        RunningHandler(Arc::clone(&self.0))
    }

    /// So many run now.
    pub(crate) fn count(&self) -> usize {
        self.0.running.load(SeqCst)
    }

    /// Completes when none runs.
    pub(crate) async fn none(&self) {
        loop {
            let none = self.0.none.notified();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for RunningHandler {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_when_the_last_one_ends() {
        let handlers = Handlers::default();
        handlers.none().await;
        let (a, b) = (handlers.begin(), handlers.begin());
        let none = handlers.none();
        tokio::pin!(none);
        assert!(futures_util::poll!(&mut none).is_pending());
        drop(a);
        assert!(futures_util::poll!(&mut none).is_pending());
        drop(b);
        none.await;
        assert_eq!(handlers.count(), 0);
    }
}

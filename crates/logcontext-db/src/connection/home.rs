//! [`Home`]: the runtime that a connection's socket belongs to.

use logcontext::{FutureExt as _, LogContext};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Where a connection was opened. With its runtime goes the reactor that wakes whoever waits for the socket: what has
/// come already may still be read, so that a transaction begins well and breaks off later, where nobody can tell
/// whether its commit has arrived.
#[derive(Debug)]
pub(super) struct Home(oneshot::Sender<()>);

impl Home {
    /// The runtime that this is called in.
    ///
    /// # Panics
    /// Outside of any.
    pub(super) fn here() -> Self {
        let (home, gone) = oneshot::channel();
        let wait = async move {
            let _ = gone.await;
        };
        // It goes with the runtime, or with the connection, and does nothing else.
        #[expect(clippy::disallowed_methods, reason = "nobody's work, and nothing to wait for")]
        Handle::current().spawn(wait.following(LogContext::sentinel()));
        Self(home)
    }

    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_runtime_takes_its_homes_with_it() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let home = runtime.block_on(async { Home::here() });
        assert!(!home.is_gone());
        drop(runtime);
        assert!(home.is_gone());
    }

    #[test]
    fn what_waits_goes_with_the_connection() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            drop(Home::here());
            while Handle::current().metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        });
    }
}

//! Whether a relay is to end, and by when.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;

use futures_util::FutureExt as _;
use tokio::time::Instant;

/// Whether a relay is to end, and by when.
pub(super) struct Stopping {
    asked: Pin<Box<dyn Future<Output = Instant> + Send>>,
    by: Option<Instant>,
}

impl Stopping {
    pub(super) fn new(asked: impl Future<Output = Instant> + Send + 'static) -> Self {
        Self { asked: Box::pin(asked), by: None }
    }

    /// Is it?
    pub(super) fn check(&mut self) -> bool {
        if self.by.is_none() {
            self.by = self.asked.as_mut().now_or_never();
        }
        self.by.is_some()
    }

    /// Completes when it is, if it was not before.
    pub(super) async fn asked(&mut self) {
        if self.by.is_some() {
            return pending().await;
        }
        self.by = Some(self.asked.as_mut().await);
    }

    /// By then, if it is.
    pub(super) fn by(&self) -> Option<Instant> {
        self.by
    }
}

impl fmt::Debug for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopping").field("by", &self.by).finish_non_exhaustive()
    }
}

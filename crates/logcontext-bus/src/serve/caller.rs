//! [`Caller`]: who has called.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use logcontext::{LogContext, Request};
use tokio::time::Instant;

/// Who has called, and for how long it waits.
#[derive(Clone)]
pub struct Caller {
    context: LogContext,
    deadline: Instant,
    gone: Gone,
}

/// Nobody waits any more for what a handler does.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone(Arc<AtomicBool>);

impl Gone {
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Caller {
    pub(super) fn new(context: LogContext, deadline: Instant, gone: Gone) -> Self {
        Self { context, deadline, gone }
    }

    /// The bus that has called: its service, and a part that no other has.
    pub fn sender(&self) -> &str {
        self.context.request().and_then(Request::client_address).unwrap_or_default()
    }

    /// The name of the context that it has called from; of the bus, if there was none.
    pub fn context_name(&self) -> &str {
        self.context.started_by().unwrap_or_default()
    }

    /// So long it still waits, by the clock of the current runtime.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Does nobody wait any more? An async handler is dropped then; one that blocks may ask from time to time.
    pub fn is_cancelled(&self) -> bool {
        self.gone.0.load(Relaxed)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("sender", &self.sender())
            .field("context", &self.context_name())
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

//! What a listener's loop, its handlers and its handle have in common.

use std::fmt;
use std::sync::Arc;

use logcontext::background::Process;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use super::handler::AnyHandler;
use super::listener::ListenerState;
use super::on_error::{OnError, Retry};
use crate::bus::Inner;
use crate::schema::Check;

/// What a listener is told to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) on_error: OnError,
    pub(super) retry: Retry,
    /// So many handlers run at once.
    pub(super) slots: usize,
    /// So many events it has at once.
    pub(super) hold: usize,
    pub(super) is_ordered: bool,
    pub(super) is_partitioned: bool,
    pub(super) max_deliveries: u32,
}

/// How a listener is told to stop, and tells how it is.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) stop: CancellationToken,
    pub(super) state: watch::Sender<ListenerState>,
}

/// What a listener's loop, its handlers and its handle have in common. It keeps the bus.
pub(super) struct Shared {
    pub(super) inner: Arc<Inner>,
    pub(super) event: &'static str,
    pub(super) version: u32,
    pub(super) partitions: u16,
    pub(super) listener: Box<str>,
    pub(super) group: Arc<str>,
    pub(super) rules: Rules,
    pub(super) process: Process,
    pub(super) handler: Box<dyn AnyHandler>,
    pub(super) check: Arc<Check>,
    pub(super) figures: Arc<Figures>,
    pub(super) control: Arc<Control>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("event", &self.event)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

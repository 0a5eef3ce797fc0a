//! Where a hub stands.

use tokio::time::Instant;

use super::super::queue::Queue;
use crate::store::Position;

pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) standing: Standing,
    /// Its process runs, or is about to.
    pub(super) is_running: bool,
}

/// Whether a hub is told of what happens, or has to catch up with it.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It has been told all that was acknowledged; what comes is queued.
    Live,
    /// It catches up; what comes is queued.
    CatchingUp,
    /// It could not be told: it has to catch up from there, and what comes is not queued.
    Waiting { position: Position, failures: u32, due: Instant },
}

impl Standing {
    /// Where it has to catch up from, if it waits for that.
    pub(super) fn position(&self) -> Option<&Position> {
        match self {
            Self::Waiting { position, .. } => Some(position),
            Self::Live | Self::CatchingUp => None,
        }
    }
}

//! What is asked of the broker, and who wants to know.

use redis::{Cmd, Value};
use tokio::sync::oneshot;

use crate::transport::{EventId, Lane, TransportError};

/// Where an answer goes.
pub(super) type Asker<T> = oneshot::Sender<Result<T, TransportError>>;

/// A command and what becomes of its answer.
pub(super) struct Command {
    pub(super) command: Cmd,
    pub(super) then: Then,
}

pub(super) enum Then {
    /// It is for who asks.
    Answer(Asker<Value>),
    /// The same. It is sent again after the connection was lost: twice is as good as once.
    Again(Asker<Value>),
    /// An event: where it is now. Its stream is entered into the registry before.
    Publish { event: &'static str, partition: u16, asker: Asker<EventId> },
    /// A call: its answer comes later.
    Call { call: u64, rpc: &'static str, lane: Lane, asker: Asker<()> },
    /// An answer: was somebody there to hear it?
    Reply(Asker<bool>),
    /// A channel to hear, instead of the command.
    Hear(String, Asker<()>),
    /// Nobody wants to know.
    Nothing,
}

impl Then {
    /// Does nobody want it any more?
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Answer(asker) => asker.is_closed(),
            Self::Publish { asker, .. } => asker.is_closed(),
            Self::Call { asker, .. } => asker.is_closed(),
            Self::Reply(asker) => asker.is_closed(),
            Self::Again(_) | Self::Hear(..) | Self::Nothing => false,
        }
    }

    pub(super) fn fail(self, error: TransportError) {
        // Whoever has gone meanwhile need not know.
        match self {
            Self::Answer(asker) | Self::Again(asker) => drop(asker.send(Err(error))),
            Self::Publish { asker, .. } => drop(asker.send(Err(error))),
            Self::Call { asker, .. } | Self::Hear(_, asker) => drop(asker.send(Err(error))),
            Self::Reply(asker) => drop(asker.send(Err(error))),
            Self::Nothing => {}
        }
    }
}

//! Commands wait here for the connection, each kind in a queue of its own.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};

use redis::{Cmd, Value};
use tokio::sync::{mpsc, oneshot};

use super::command::{Asker, Command, Then};
use crate::transport::TransportError;

/// So many of each kind are sent at once.
const ROUND: usize = 64;

/// The kinds. None keeps another from its turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// What keeps all else going: acknowledgements, claims, leases, looks at what is stored.
    Upkeep,
    Events,
    Calls,
    /// Calls from handlers: whatever waits in front of those waits for a handler, perhaps.
    NestedCalls,
    Replies,
}

const KINDS: usize = 5;

/// Where commands are put in.
pub(super) struct Queues {
    senders: [mpsc::Sender<Command>; KINDS],
    forgotten: mpsc::UnboundedSender<u64>,
    is_closed: AtomicBool,
}

/// Where they are taken out.
pub(super) struct Waiting {
    receivers: [mpsc::Receiver<Command>; KINDS],
    forgotten: mpsc::UnboundedReceiver<u64>,
}

pub(super) fn queues(capacity: usize) -> (Queues, Waiting) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..KINDS).map(|_| mpsc::channel(capacity)).unzip();
    let (forgotten, forgotten_receiver) = mpsc::unbounded_channel();
    let (Ok(senders), Ok(receivers)) = (senders.try_into(), receivers.try_into()) else {
        unreachable!("as many as there are kinds")
    };
    (
        Queues { senders, forgotten, is_closed: AtomicBool::new(false) },
        Waiting { receivers, forgotten: forgotten_receiver },
    )
}

impl Queues {
    /// Puts in a command and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        kind: Kind,
        command: Cmd,
        then: impl FnOnce(Asker<T>) -> Then,
    ) -> Result<T, TransportError> {
        if self.is_closed() {
            return Err(TransportError::Closed);
        }
        self.ask_anyway(kind, command, then).await
    }

    async fn ask_anyway<T>(
        &self,
        kind: Kind,
        command: Cmd,
        then: impl FnOnce(Asker<T>) -> Then,
    ) -> Result<T, TransportError> {
        let (asker, answer) = oneshot::channel();
        let command = Command { command, then: then(asker) };
        if self.senders[kind as usize].send(command).await.is_err() {
            return Err(TransportError::Closed);
        }
        answer.await.unwrap_or(Err(TransportError::Closed))
    }

    /// What belongs to the end of something: also while the transport is closing.
    pub(super) async fn finish(&self, command: Cmd) -> Result<Value, TransportError> {
        self.ask_anyway(Kind::Upkeep, command, Then::Again).await
    }

    /// Asks until the broker has answered: twice is as good as once.
    pub(super) async fn settle(&self, command: Cmd) -> Result<Value, TransportError> {
        self.ask(Kind::Upkeep, command, Then::Again).await
    }

    /// Asks once.
    pub(super) async fn look(&self, command: Cmd) -> Result<Value, TransportError> {
        self.ask(Kind::Upkeep, command, Then::Answer).await
    }

    /// Puts in a command whose answer nobody wants, if there is room.
    pub(super) fn tell(&self, command: Cmd) {
        let _ = self.senders[Kind::Upkeep as usize].try_send(Command { command, then: Then::Nothing });
    }

    /// Nobody waits for this call any more.
    pub(super) fn forget(&self, call: u64) {
        let _ = self.forgotten.send(call);
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.is_closed.store(true, SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    pub(super) fn len(&self) -> usize {
        self.senders.iter().map(|sender| sender.max_capacity() - sender.capacity()).sum()
    }

    pub(super) fn is_full(&self) -> bool {
        self.senders.iter().any(|sender| sender.capacity() == 0)
    }
}

/// What came out at once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) commands: Vec<Command>,
    /// Calls that nobody waits for any more
    pub(super) forgotten: Vec<u64>,
    /// All calls that were put in before those were forgotten are out.
    pub(super) has_all_calls: bool,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.forgotten.is_empty()
    }
}

impl Waiting {
    /// Adds what is next, of each kind some. Ready when there is something; `false` when there never will be.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<bool> {
        let mut are_over = true;
        batch.has_all_calls = true;
        // Before the calls: see `Batch::has_all_calls`.
        let _ = self.forgotten.poll_recv_many(cx, &mut batch.forgotten, usize::MAX);
        for (kind, receiver) in self.receivers.iter_mut().enumerate() {
            let taken = receiver.poll_recv_many(cx, &mut batch.commands, ROUND);
            are_over &= matches!(taken, Poll::Ready(0));
            let is_of_calls = [Kind::Calls as usize, Kind::NestedCalls as usize].contains(&kind);
            batch.has_all_calls &= !(is_of_calls && taken == Poll::Ready(ROUND));
        }
        if batch.is_empty() && !are_over { Poll::Pending } else { Poll::Ready(!batch.is_empty()) }
    }

    /// Takes nothing more in; what is in comes out.
    pub(super) fn close(&mut self) {
        self.receivers.iter_mut().for_each(mpsc::Receiver::close);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receivers.iter().all(mpsc::Receiver::is_empty)
    }
}

//! What a broker must be able to do for a bus, in parts: carry [events](EventTransport), carry [calls](CallTransport),
//! show what is [stored](EventLog), [lease](Leases) something to one at a time, and keep [schemas](Schemas).
//!
//! All that a transport does for one message is a step of a chain in one direction: a command goes in by a bounded queue,
//! whoever owns the connection works it off and says what became of it. A transport never waits for a handler; what it
//! hands over goes into queues that are bounded by slots it takes before it reads. Loops reconnect by themselves, with
//! backoff; a transport's errors are for who asked, or are told by [`Transport::status`].
//!
//! A transport's own tasks run in contexts of their own, and end when it is closed or dropped, not when the supervisor
//! shuts down: handlers that drain need them to the last.

#[cfg(any(feature = "redis", feature = "nats"))]
mod backoff;
mod calls;
mod events;
mod inbox;
mod kept;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use logcontext::Supervisor;

pub use crate::message::Message;
pub use calls::{CallTransport, Incoming, Lane, Outgoing, ReplyTo, Serve, Serving};
pub use events::{Delivery, DeliveryId, EventId, EventTransport, Publish, Since, Subscribe, Subscription};
pub use inbox::Inbox;
pub use kept::{DeadLetter, EventLog, Lag, Lease, Leases, Page, Schemas, Stored, Trimmed};
pub use memory::Memory;
#[cfg(feature = "nats")]
pub use nats::Nats;
#[cfg(feature = "redis")]
pub use redis::Redis;

use crate::config::BusConfig;
use crate::error::ConnectError;

/// Something that is being done. It needs no runtime of whoever polls it: timers and connections are the transport's own.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send + 'a>>;

/// Why a transport could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// It is closed, or closing.
    #[error("the bus is closed")]
    Closed,
    /// The connection was lost on the way: it may have been done.
    #[error("the connection to the broker was lost: {0}")]
    Lost(Arc<str>),
    /// The broker has answered that it will not.
    #[error("the broker refused it: {0}")]
    Refused(String),
}

/// How a transport is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Is there a connection to the broker? If not, why.
    pub connected: Result<(), Arc<str>>,
    /// So many commands wait in its queues.
    pub queued: usize,
    /// Is one of its queues full?
    pub is_full: bool,
    /// So many connections it has open.
    pub connections: usize,
    /// So often it has connected again.
    pub reconnects: u64,
}

impl Status {
    /// Connected, and nothing waits.
    pub fn new() -> Self {
        Self { connected: Ok(()), queued: 0, is_full: false, connections: 0, reconnects: 0 }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

/// What a bus gives to its transport.
#[derive(Clone, Debug)]
pub struct Link {
    /// How the bus is set up.
    pub config: BusConfig,
    /// What the bus is called: its service and a random part. It is the consumer of groups and the address of replies.
    pub identity: Arc<str>,
    /// Where replies and cancellations go.
    pub inbox: Arc<Inbox>,
    /// The service that it belongs to.
    pub supervisor: Supervisor,
}

/// Makes transports: what [`Bus::over`](crate::Bus::over) takes.
pub trait Connector {
    /// Makes one, on the current runtime, without waiting for the broker: what is asked of it meanwhile waits.
    ///
    /// # Errors
    /// If it can never connect as it is set up.
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError>;
}

/// A bus's connection to its broker.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Which one it is: `memory`, `redis`, `nats`.
    fn name(&self) -> &'static str;

    /// Carries events.
    fn events(&self) -> &dyn EventTransport;

    /// Carries calls.
    fn calls(&self) -> &dyn CallTransport;

    /// Shows what is stored.
    fn log(&self) -> &dyn EventLog;

    /// Leases.
    fn leases(&self) -> &dyn Leases;

    /// Keeps schemas.
    fn schemas(&self) -> &dyn Schemas;

    /// How it is doing now. Must not block.
    fn status(&self) -> Status;

    /// Completes when there is a connection. Must not fail but by [`TransportError::Closed`].
    fn connected(&self) -> Doing<'_, ()>;

    /// Takes nothing more, does what it has taken for so long at most, and closes all connections. Whatever waits then
    /// fails as closed. A second call waits along.
    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

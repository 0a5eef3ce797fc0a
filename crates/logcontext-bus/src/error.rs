//! What can go wrong, and who can act on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::name::InvalidName;

/// What there was no more time to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// For a connection to the broker; with what is known of why there is none.
    Connection(Arc<str>),
    /// For a place in a queue that is full.
    Queue,
    /// For the broker to say that it has the message.
    Broker,
    /// For the answer.
    Answer,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(why) => write!(f, "for a connection to the broker ({why})"),
            Self::Queue => f.write_str("for a place in the queue to the broker"),
            Self::Broker => f.write_str("for the broker"),
            Self::Answer => f.write_str("for the answer"),
        }
    }
}

/// A bus cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none that a bus knows; it is shown without its secrets.
    #[error("{0}")]
    Url(String),
    /// A name in the configuration is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A number in the configuration is none that can be: which, and what was expected.
    #[error("{0}")]
    Config(String),
}

/// An event was not fired; or, where it says so, nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FireError {
    /// Its name is none, or its number of partitions.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It has more than this many partitions, or none.
    #[error("{event} has {partitions} partitions: expected 1 to 256")]
    Partitions {
        /// The event.
        event: &'static str,
        /// How many it says it has.
        partitions: u16,
    },
    /// It cannot be written as JSON.
    #[error("cannot be written as JSON: {0}")]
    Encode(String),
    /// It is not as its schema wants it: which field, and what was expected.
    #[error("is not as its schema wants it: {0}")]
    Invalid(String),
    /// It is larger than the configuration allows, in bytes.
    #[error("is {size} bytes long: expected at most {limit}")]
    TooLarge {
        /// Its length.
        size: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// There was no more time. Waiting for the broker, it may have been stored; else it was not.
    #[error("waited {after:?} {waiting}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// What for.
        waiting: Waiting,
    },
    /// The broker has refused it.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

/// There is no answer to a call. `E` is what the handler may say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// What the handler said instead of an answer.
    #[error("{0}")]
    Handler(E),
    /// Nobody serves it.
    #[error("nobody serves {0}")]
    NoServer(&'static str),
    /// There was no more time. The handler may have run; it is told to stop.
    #[error("waited {after:?} {waiting}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// What for.
        waiting: Waiting,
    },
    /// The call is one of a chain of calls that wait for each other, and there are too many.
    #[error("is call {depth} of a chain of calls that wait for each other: expected at most {limit}")]
    TooDeep {
        /// How many calls wait for this one.
        depth: u8,
        /// As many may.
        limit: u8,
    },
    /// The handler panicked. It is in the log of who serves it.
    #[error("its handler panicked")]
    Panicked,
    /// The handler was ended before it was done: its service is shutting down.
    #[error("its handler was ended before it was done")]
    Abandoned,
    /// Who serves it has no room for one more.
    #[error("who serves it has no room: {0}")]
    Overloaded(String),
    /// Who serves it cannot read it: which field, and what was expected.
    #[error("was refused: {0}")]
    BadRequest(String),
    /// The answer cannot be read: which field, and what was expected.
    #[error("the answer cannot be read: {0}")]
    BadResponse(String),
    /// It cannot be written as JSON.
    #[error("cannot be written as JSON: {0}")]
    Encode(String),
    /// It is not as its schema wants it: which field, and what was expected.
    #[error("is not as its schema wants it: {0}")]
    Invalid(String),
    /// It is larger than the configuration allows, in bytes.
    #[error("is {size} bytes long: expected at most {limit}")]
    TooLarge {
        /// Its length.
        size: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// The connection to the broker was lost: the handler may have run, its answer is lost.
    #[error("the connection to the broker was lost ({0}); its handler may have run")]
    ConnectionLost(Arc<str>),
    /// The broker has refused it.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

/// Nobody listens: see [`Bus::listen`](crate::Bus::listen).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// This bus has a listener of this name for this event already.
    #[error("there is a listener {listener} to {event} already")]
    Taken {
        /// The event.
        event: &'static str,
        /// The listener.
        listener: String,
    },
    /// A setting that cannot be: which, and what was expected.
    #[error("{0}")]
    Setting(String),
    /// There was no more time.
    #[error("waited {after:?} {waiting}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// What for.
        waiting: Waiting,
    },
    /// The broker has refused it.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

/// Work is not split: see [`Bus::shard`](crate::Bus::shard).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// This bus splits other work of this name.
    #[error("{0} is split into shards already")]
    Taken(String),
    /// There cannot be so many.
    #[error("{0} shards: expected 1 to 1024")]
    Count(u16),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

/// Nothing is served: see [`Bus::serve`](crate::Bus::serve).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// This bus serves it already.
    #[error("{0} is served already")]
    Taken(&'static str),
    /// A setting that cannot be: which, and what was expected.
    #[error("{0}")]
    Setting(String),
    /// There was no more time.
    #[error("waited {after:?} {waiting}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// What for.
        waiting: Waiting,
    },
    /// The broker has refused it.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

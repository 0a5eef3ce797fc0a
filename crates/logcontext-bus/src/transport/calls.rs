//! Carrying calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Doing, Message, TransportError};

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// From where no handler waits for it: it may have to wait for a slot.
    First,
    /// From a handler: it never waits for one.
    Nested,
}

/// A call to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What is called.
    pub rpc: &'static str,
    /// Which way.
    pub lane: Lane,
    /// Tells it from all other calls of this bus.
    pub call: u64,
    /// So long its caller waits from now.
    pub timeout: Duration,
    /// The request.
    pub message: Message,
}

/// Who has called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplyTo {
    /// The bus, by its identity.
    pub client: Arc<str>,
    /// Its call.
    pub call: u64,
}

/// A call that has come.
#[derive(Debug)]
pub struct Incoming {
    /// Who has called.
    pub from: ReplyTo,
    /// The request.
    pub message: Message,
    /// So long it was on its way, as far as the broker can tell by its own clock.
    pub age: Duration,
    /// Its slot; on the nested lane there is none.
    pub slot: Option<OwnedSemaphorePermit>,
}

/// A wish for calls.
#[derive(Debug)]
pub struct Serve {
    /// What is served.
    pub rpc: Arc<str>,
    /// One is taken for each call on the first lane before it is read, and goes along with it.
    pub slots: Arc<Semaphore>,
    /// Where calls go, of both lanes.
    pub calls: mpsc::UnboundedSender<Incoming>,
}

/// Carries calls: at most once.
pub trait CallTransport: Send + Sync {
    /// Sends it. Completes once the broker has it, waits while a queue is full. What becomes of it is told to the
    /// [`Inbox`](super::Inbox): its reply, that nobody serves it, or that the connection was lost.
    fn call(&self, call: Outgoing) -> Doing<'_, ()>;

    /// The same, where nothing has to be waited for: a transport in the same process needs no future for that.
    ///
    /// # Errors
    /// The call, if it has to be waited for: then it is for [`call`](Self::call).
    fn try_call(&self, call: Outgoing) -> Result<Result<(), TransportError>, Outgoing> {
        Err(call)
    }

    /// Nobody waits for it any more: it is not begun if that is possible, and whoever handles it is told.
    fn cancel(&self, rpc: &'static str, lane: Lane, call: u64);

    /// Sends an answer. Answers whether there was somebody to hear it.
    fn reply(&self, to: ReplyTo, message: Message) -> Doing<'_, bool>;

    /// The same, where nothing has to be waited for.
    ///
    /// # Errors
    /// The answer, if it has to be waited for: then it is for [`reply`](Self::reply).
    fn try_reply(
        &self,
        to: ReplyTo,
        message: Message,
    ) -> Result<Result<bool, TransportError>, (ReplyTo, Message)> {
        Err((to, message))
    }

    /// Begins to serve: completes once callers find it.
    fn serve(&self, wish: Serve) -> Doing<'_, Arc<dyn Serving>>;
}

/// What is being served. Dropped without having been stopped, it is as if its process had died.
pub trait Serving: fmt::Debug + Send + Sync {
    /// Takes nothing more from the first lane: others do. Completes when all that it has taken is in the channel.
    fn stop_first(&self) -> Doing<'_, ()>;

    /// Takes nothing more at all.
    fn stop(&self) -> Doing<'_, ()>;
}

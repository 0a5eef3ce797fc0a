//! A service at the broker, as its bus would be.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::case::soon;
use super::listener::Wish;
use super::server::Server;
use crate::transport::{
    EventId, Inbox, Lag, Lane, Message, Outgoing, Page, Publish, ReplyTo, Stored, Transport,
};
use crate::waits::{Kind, Told};

/// A service that fires, listens, calls and serves.
pub(crate) struct Peer {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) identity: Arc<str>,
}

/// A call that was sent.
pub(crate) struct Call {
    pub(crate) number: u64,
    inbox: Arc<Inbox>,
}

/// A call that is handled.
pub(crate) struct Handling {
    from: ReplyTo,
    wait: u64,
    inbox: Arc<Inbox>,
}

/// Longer than any test.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The event of all tests that need one.
pub(crate) const EVENT: &str = "conformance.event";

/// The call of all tests that need one.
pub(crate) const RPC: &str = "conformance.call";

/// A message with this body.
pub(crate) fn message(body: impl AsRef<[u8]>) -> Message {
    Message { head: r#"{"test":true}"#.into(), body: bytes::Bytes::copy_from_slice(body.as_ref()) }
}

/// The number in a body.
pub(crate) fn number(message: &Message) -> u64 {
    let text = std::str::from_utf8(&message.body).expect("a number");
    text.parse().expect("a number")
}

impl Peer {
    pub(crate) fn new(transport: Arc<dyn Transport>, inbox: Arc<Inbox>, identity: Arc<str>) -> Self {
        Self { transport, inbox, identity }
    }

    /// Fires the event with this body, on partition 0.
    pub(crate) async fn fire(&self, body: impl AsRef<[u8]>) -> EventId {
        self.fire_to(EVENT, 0, message(body)).await
    }

    pub(crate) async fn fire_to(&self, event: &'static str, partition: u16, message: Message) -> EventId {
        let publish = Publish { event, partition, message };
        soon("an event is stored", self.transport.events().publish(publish))
            .await
            .expect("an event is stored")
    }

    /// Fires these numbers one after the other.
    pub(crate) async fn fire_all(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.fire(number.to_string()).await;
        }
    }

    /// To listen to the event for this group.
    pub(crate) fn wish<'a>(&'a self, group: &'a str) -> Wish<'a> {
        Wish::new(self, EVENT, group)
    }

    /// Serves the call with so many slots.
    pub(crate) async fn serve(&self, slots: usize) -> Server {
        Server::start(self, RPC, slots).await
    }

    /// Sends the call by the first lane.
    pub(crate) async fn call(&self, body: impl AsRef<[u8]>) -> Call {
        self.call_by(Lane::First, body).await
    }

    pub(crate) async fn call_by(&self, lane: Lane, body: impl AsRef<[u8]>) -> Call {
        self.call_to(RPC, lane, message(body)).await
    }

    pub(crate) async fn call_to(&self, rpc: &'static str, lane: Lane, message: Message) -> Call {
        let (outgoing, call) = self.outgoing(rpc, lane, message);
        soon("a call is sent", self.transport.calls().call(outgoing)).await.expect("a call is sent");
        call
    }

    /// A call to be sent.
    pub(crate) fn outgoing(&self, rpc: &'static str, lane: Lane, message: Message) -> (Outgoing, Call) {
        let number = self.wait(Kind::Call);
        let call = Call { number, inbox: Arc::clone(&self.inbox) };
        (Outgoing { rpc, lane, call: number, timeout: TIMEOUT, message }, call)
    }

    /// A call that has come, and takes a while.
    pub(crate) fn handling(&self, from: &ReplyTo) -> Handling {
        let wait = self.wait(Kind::Handler);
        self.inbox.handled().begin(from, wait);
        Handling { from: from.clone(), wait, inbox: Arc::clone(&self.inbox) }
    }

    fn wait(&self, kind: Kind) -> u64 {
        self.inbox.waits().begin(kind, Instant::now() + TIMEOUT, Waker::noop())
    }

    /// Nobody waits for it any more.
    pub(crate) fn cancel(&self, lane: Lane, call: &Call) {
        self.transport.calls().cancel(RPC, lane, call.number);
    }

    pub(crate) async fn lag(&self, group: &str) -> Lag {
        soon("the lag", self.transport.log().lag(EVENT, group)).await.expect("the lag")
    }

    /// The newest that are kept, the newest first.
    pub(crate) async fn newest(&self, limit: usize) -> Vec<Stored> {
        let page = Page { before: None, limit };
        soon("the history", self.transport.log().history(EVENT, page)).await.expect("the history")
    }
}

impl Call {
    pub(crate) async fn became(self) -> Told {
        soon("a call is answered", poll_fn(|cx| self.inbox.waits().poll(self.number, cx))).await
    }

    /// Its answer.
    pub(crate) async fn answer(self) -> Message {
        match self.became().await {
            Told::Answer(message) => message,
            other => panic!("instead of an answer: {other:?}"),
        }
    }

    pub(crate) async fn was_unserved(self) -> bool {
        matches!(self.became().await, Told::Unserved)
    }
}

impl Handling {
    /// Completes when its handler is told that nobody waits for it.
    pub(crate) async fn told(&self) -> Told {
        soon("the handler is told", poll_fn(|cx| self.inbox.waits().poll(self.wait, cx))).await
    }

    /// Was it not?
    pub(crate) fn was_told_nothing(&self) -> bool {
        self.inbox.waits().poll(self.wait, &mut Context::from_waker(Waker::noop())).is_pending()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.inbox.waits().forget(self.number);
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.inbox.handled().end(&self.from);
        self.inbox.waits().forget(self.wait);
    }
}

//! A service at the broker, as its bus would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::oneshot;

use super::case::soon;
use super::listener::Wish;
use super::server::Server;
use crate::transport::{
    Became, EventId, Inbox, Lag, Lane, Message, Outgoing, Page, Publish, Stored, Transport,
};

/// A service that fires, listens, calls and serves.
pub(crate) struct Peer {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) identity: Arc<str>,
    last_call: AtomicU64,
}

/// A call that was sent.
pub(crate) struct Call {
    pub(crate) number: u64,
    became: oneshot::Receiver<Became>,
}

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
        Self { transport, inbox, identity, last_call: AtomicU64::new(1) }
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
        let number = self.last_call.fetch_add(1, Relaxed);
        let became = self.inbox.expect(number);
        let timeout = Duration::from_secs(600);
        (Outgoing { rpc, lane, call: number, timeout, message }, Call { number, became })
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
    pub(crate) async fn became(self) -> Became {
        soon("a call is answered", self.became).await.expect("a call is answered")
    }

    /// Its answer.
    pub(crate) async fn answer(self) -> Message {
        match self.became().await {
            Became::Answered(message) => message,
            other => panic!("instead of an answer: {other:?}"),
        }
    }

    pub(crate) async fn was_unserved(self) -> bool {
        matches!(self.became().await, Became::Unserved)
    }
}

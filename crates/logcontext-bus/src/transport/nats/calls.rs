//! Carries calls: a stream in the broker's memory for each lane of what is called, a subject for the answers of each bus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::DropGuard;

use super::failure::Failure;
use super::gate::Kind;
use super::reading::keep_reading;
use super::server::{self, Server};
use super::shared::Shared;
use super::stopping::Stopping;
use super::wire::{Ask, Wire};
use super::{NatsTransport, js, leftovers, streams};
use crate::transport::{
    CallTransport, Doing, Incoming, Lane, Message, Outgoing, ReplyTo, Serve, Serving, TransportError,
};

/// Another server says so within that time, if there is one.
const ANYBODY: Duration = Duration::from_secs(1);

impl CallTransport for NatsTransport {
    fn call(&self, call: Outgoing) -> Doing<'_, ()> {
        Box::pin(async move { Ok(self.shared.call(call).await?) })
    }

    fn cancel(&self, _: &'static str, _: Lane, call: u64) {
        self.shared.leftovers.forget(call);
    }

    fn reply(&self, to: ReplyTo, message: Message) -> Doing<'_, bool> {
        Box::pin(async move { Ok(self.shared.reply(&to, &message).await?) })
    }

    fn serve(&self, wish: Serve) -> Doing<'_, Arc<dyn Serving>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let under_way = shared.enter(Kind::Upkeep).await?;
            let Serve { rpc, slots, calls } = wish;
            hear_cancelled(&shared, &rpc).await?;
            let first = Taking::start(&shared, &rpc, Lane::First, Some(slots), calls.clone()).await?;
            let nested = Taking::start(&shared, &rpc, Lane::Nested, None, calls).await?;
            drop(under_way);
            let served = Arc::new(Served { rpc, first, nested, shared });
            served.shared.remember(&served);
            Ok(served as Arc<dyn Serving>)
        })
    }
}

impl Shared {
    async fn call(&self, call: Outgoing) -> Result<(), Failure> {
        let Outgoing { rpc, lane, call, message, .. } = call;
        let kind = if lane == Lane::Nested { Kind::NestedCalls } else { Kind::Calls };
        let (_under_way, wire) = self.enter_with_wire(kind).await?;
        // Whatever this bus has taken back before is taken back at the broker before it has this.
        leftovers::tell(self, &wire).await?;
        let sent = self.broker_time();
        self.under_way.begin(call, rpc, lane, &wire)?;
        let subject = self.names.call(rpc, lane, &self.identity, call);
        let stored = self.ask_by(&wire, &js::store(subject, server::frame(sent, &message))).await;
        match stored.and_then(|answer| js::read::<js::Stored>(&answer)) {
            Ok(_) => {
                // If nobody hears this either, nobody serves it.
                let (serves, reply) = (self.names.serves(rpc, lane), self.names.reply(&self.identity, call));
                wire.tell_and_hear(serves, reply, "").await
            }
            // Who serves it has made the stream.
            Err(Failure::Nobody) => {
                if self.under_way.end(call).is_some() {
                    self.inbox.unserved(call);
                }
                Ok(())
            }
            Err(failure) => {
                self.under_way.end(call);
                Err(failure)
            }
        }
    }

    async fn reply(&self, to: &ReplyTo, message: &Message) -> Result<bool, Failure> {
        let (_under_way, wire) = self.enter_with_wire(Kind::Replies).await?;
        let receipt = self.receipts.begin();
        let heard = self.names.own(&self.identity, &format!("heard.{}", receipt.number));
        let reply = self.names.reply(&to.client, to.call);
        wire.tell_and_hear(reply, heard.clone(), message.to_frame()).await?;
        wire.tell(heard, "").await?;
        tokio::select! {
            biased;
            was_heard = receipt.was_heard() => was_heard.ok_or_else(Failure::gone),
            // Should it have been lost before it was waited for.
            () = wire.gone() => Err(Failure::gone()),
            () = self.end.cancelled() => Err(Failure::Closed),
        }
    }
}

/// Who has called, as it is told to whoever handles its calls.
pub(super) fn caller(client: &str, call: u64) -> String {
    format!("{client}:{call}")
}

fn parse_caller(text: &[u8]) -> Option<ReplyTo> {
    let (client, call) = std::str::from_utf8(text).ok()?.rsplit_once(':')?;
    Some(ReplyTo { client: client.into(), call: call.parse().ok()? })
}

/// Hears from now on which calls nobody waits for any more.
async fn hear_cancelled(shared: &Arc<Shared>, rpc: &Arc<str>) -> Result<(), Failure> {
    let mut heard = shared.heard.lock().await;
    if heard.contains(rpc) {
        return Ok(());
    }
    let (hears, begun) = oneshot::channel();
    let (hearing, subject) = (Arc::clone(shared), shared.names.cancelled(rpc));
    let task = async move {
        let mut hears = Some(hears);
        while let Ok(wire) = hearing.wire().await {
            let Ok(mut cancelled) = wire.hear(subject.clone()).await else { continue };
            let _ = hears.take().map(|hears| hears.send(()));
            while let Some(message) = cancelled.next().await {
                if let Some(from) = parse_caller(&message.payload) {
                    hearing.inbox.cancelled(&from);
                }
            }
            wire.gone().await;
        }
    };
    shared.spawn("bus_nats_cancelled", shared.end.child_token(), task);
    begun.await.map_err(|_| Failure::Closed)?;
    heard.push(Arc::clone(rpc));
    Ok(())
}

/// What is being served.
pub(super) struct Served {
    rpc: Arc<str>,
    first: Taking,
    nested: Taking,
    shared: Arc<Shared>,
}

/// One lane of it.
struct Taking {
    lane: Lane,
    stopping: Stopping,
    _end: DropGuard,
}

impl Taking {
    async fn start(
        shared: &Arc<Shared>,
        rpc: &Arc<str>,
        lane: Lane,
        slots: Option<Arc<Semaphore>>,
        calls: mpsc::UnboundedSender<Incoming>,
    ) -> Result<Self, Failure> {
        let (stopping, end) = (Stopping::default(), shared.end.child_token());
        let guard = end.clone().drop_guard();
        let (ready, serves) = oneshot::channel();
        let server = Server::new(Arc::clone(shared), rpc, lane, slots, calls, stopping.clone(), ready);
        let reading = keep_reading(Arc::clone(shared), stopping.clone(), server);
        shared.spawn("bus_nats_calls", end, reading);
        serves.await.unwrap_or(Err(Failure::Closed))?;
        Ok(Self { lane, stopping, _end: guard })
    }

    async fn stop(&self, served: &Served) -> Result<(), Failure> {
        let Served { rpc, shared, .. } = served;
        self.stopping.stop(shared).await?;
        let _place = shared.gate.enter_anyway(Kind::Upkeep).await?;
        loop {
            let wire = shared.wire().await?;
            match leave(shared, &wire, rpc, self.lane).await {
                Err(Failure::Lost(_)) => {}
                left => return left,
            }
        }
    }
}

/// Where nobody else serves these calls, the callers of what nobody has read are told.
async fn leave(shared: &Shared, wire: &Wire, rpc: &str, lane: Lane) -> Result<(), Failure> {
    let ask = Ask { subject: shared.names.serves(rpc, lane), headers: None, payload: server::ANYBODY.into() };
    let asked = tokio::time::timeout(ANYBODY, wire.ask(&ask));
    if !matches!(asked.await, Ok(Err(Failure::Nobody))) {
        return Ok(());
    }
    let stream = shared.names.calls(rpc, lane);
    let inbox = shared.names.own(&shared.identity, &format!("left{:016x}", fastrand::u64(..)));
    let mut left = wire.hear(inbox.clone()).await?;
    loop {
        let wish = r#"{"batch":128,"no_wait":true,"expires":10000000}"#;
        wire.tell_and_hear(js::pull_subject(&stream, streams::SERVERS), inbox.clone(), wish).await?;
        let mut count = 0;
        while count < 128 {
            let next = match tokio::time::timeout(ANYBODY, left.next()).await {
                Ok(next) => next.ok_or_else(Failure::gone)?,
                // Some brokers do not say so where there is nothing.
                Err(_) => return Ok(()),
            };
            if next.status.is_some() {
                return Ok(());
            }
            count += 1;
            if let Some(from) = server::caller(&next.subject) {
                wire.tell(shared.names.unserved(&from.client, from.call), "").await?;
            }
        }
    }
}

impl Serving for Served {
    fn stop_first(&self) -> Doing<'_, ()> {
        Box::pin(async move { Ok(self.first.stop(self).await?) })
    }

    fn stop(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            let (first, nested) = tokio::join!(self.first.stop(self), self.nested.stop(self));
            Ok::<(), TransportError>(first.and(nested)?)
        })
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("rpc", &self.rpc).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_read_as_it_was_written() {
        let from = parse_caller(caller("a:b/17", 5).as_bytes()).unwrap();
        assert_eq!((&*from.client, from.call), ("a:b/17", 5));
        for none in ["", "a", "a:b", "a:-1"] {
            assert_eq!(parse_caller(none.as_bytes()), None, "{none}");
        }
    }
}

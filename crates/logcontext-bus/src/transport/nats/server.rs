//! Takes the calls of one lane.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message as Raw;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::js::{self, Done};
use super::names::untoken;
use super::pulling::{Feed, Got, Pulling, Slot, Slots};
use super::reading::{End, Reads};
use super::shared::Shared;
use super::stopping::Stopping;
use super::streams::{self, Make};
use super::wire::Wire;
use crate::transport::{Incoming, Lane, Message, ReplyTo};

/// What was read is forgotten after so many.
const TRIM: usize = 256;

/// There is nothing to look for now and then.
const NEVER: Duration = Duration::from_secs(3600);

/// Who says this wants to know whether anybody serves.
pub(super) const ANYBODY: &str = "?";

/// Told once whether it serves.
type Ready = oneshot::Sender<Result<(), Failure>>;

pub(super) struct Server {
    shared: Arc<Shared>,
    rpc: Arc<str>,
    lane: Lane,
    /// On the nested lane there are none.
    slots: Slots,
    calls: mpsc::UnboundedSender<Incoming>,
    stopping: Stopping,
    ready: Option<Ready>,
    /// So many were read since the last were forgotten
    read: usize,
}

impl Reads for Server {
    async fn read_all(&mut self, wire: Arc<Wire>) -> End {
        let calls = self.calls.clone();
        let read = async {
            match self.read_on(wire).await {
                Err(end) => end,
            }
        };
        let end = tokio::select! {
            biased;
            () = calls.closed() => End::Stopped,
            end = read => end,
        };
        if let End::Lost(failure @ (Failure::Error { .. } | Failure::Refused(_) | Failure::Nobody)) = &end
            && let Some(ready) = self.ready.take()
        {
            let _ = ready.send(Err(failure.clone()));
            return End::Stopped;
        }
        end
    }
}

impl Server {
    pub(super) fn new(
        shared: Arc<Shared>,
        rpc: &Arc<str>,
        lane: Lane,
        slots: Slots,
        calls: mpsc::UnboundedSender<Incoming>,
        stopping: Stopping,
        ready: Ready,
    ) -> Self {
        Self { shared, rpc: Arc::clone(rpc), lane, slots, calls, stopping, ready: Some(ready), read: 0 }
    }

    async fn read_on(&mut self, wire: Arc<Wire>) -> Result<Infallible, End> {
        let (shared, names) = (Arc::clone(&self.shared), &self.shared.names);
        let stream = names.calls(&self.rpc, self.lane);
        // Callers that find the stream find somebody who serves.
        let serves = wire.hear_as_one(names.serves(&self.rpc, self.lane)).await?;
        Make::check(wire.ask(shared.calls_stream(&self.rpc, self.lane).ask()).await)?;
        js::read::<Done>(&wire.ask(&streams::servers(&stream)).await?)?;
        let inbox = names.own(&shared.identity, &format!("pull{:016x}", fastrand::u64(..)));
        let feeds = vec![Feed::new(stream.clone(), streams::SERVERS.to_owned(), false)];
        let (slots, stopping) = (self.slots.clone(), self.stopping.clone());
        let mut pulling =
            Pulling::begin(Arc::clone(&wire), inbox, Some(serves), feeds, slots, stopping, NEVER).await?;
        drop(self.ready.take().map(|ready| ready.send(Ok(()))));
        loop {
            match pulling.next().await {
                Ok(Got::Message { ack, message, slot, .. }) => {
                    self.deliver(&message, slot)?;
                    self.read += 1;
                    if self.read >= TRIM {
                        // All up to here was read by one server or another: they read in order.
                        self.read = 0;
                        shared.leftovers.ask(js::purge(&stream, None, Some(ack.sequence + 1)));
                    }
                }
                Ok(Got::Bell(message)) if message.payload == ANYBODY => {
                    if let Some(reply) = message.reply {
                        wire.tell(reply.to_string(), "").await?;
                    }
                }
                Ok(Got::Bell(_) | Got::Nothing) => {}
                Err(end) => {
                    pulling.silence().await;
                    return Err(end);
                }
            }
        }
    }

    fn deliver(&self, message: &Raw, slot: Slot) -> Result<(), End> {
        // What others have put into the stream is nobody's call.
        let Some(from) = caller(&message.subject) else { return Ok(()) };
        let Some((sent, message)) = parse_frame(message.payload.clone()) else { return Ok(()) };
        let age = Duration::from_micros(self.shared.broker_time().saturating_sub(sent));
        self.calls.send(Incoming { from, message, age, slot }).map_err(|_| End::Stopped)
    }
}

/// Who has called, by the subject of the call.
pub(super) fn caller(subject: &str) -> Option<ReplyTo> {
    let mut tokens = subject.rsplit('.');
    let (call, client) = (tokens.next()?.parse().ok()?, tokens.next()?);
    Some(ReplyTo { client: untoken(client)?.into(), call })
}

/// A call: when it was sent, by the broker's clock in microseconds, a line feed, the message.
pub(super) fn frame(sent: u64, message: &Message) -> Vec<u8> {
    let mut text = sent.to_string().into_bytes();
    text.reserve(message.len() + 2);
    text.push(b'\n');
    text.extend_from_slice(&message.head);
    text.push(b'\n');
    text.extend_from_slice(&message.body);
    text
}

fn parse_frame(mut text: Bytes) -> Option<(u64, Message)> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let sent = std::str::from_utf8(&text.split_to(end)).ok()?.parse().ok()?;
    Some((sent, Message::from_frame(text.slice(1..))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_as_it_was_written() {
        for (head, body) in [("{}", "17"), ("", ""), ("{}", "a\nb")] {
            let message = Message { head: head.into(), body: body.into() };
            assert_eq!(parse_frame(frame(u64::MAX, &message).into()), Some((u64::MAX, message)));
        }
        for none in ["", "\n", "x\n", "17"] {
            assert_eq!(parse_frame(none.into()), None, "{none}");
        }
    }

    #[test]
    fn its_subject_says_who_has_called() {
        let names = super::super::names::Names::new("p");
        let subject = names.call("test.call", Lane::First, "a.b/17", 5);
        assert_eq!(caller(&subject), Some(ReplyTo { client: "a.b/17".into(), call: 5 }));
        for none in ["", "a", "a.b", "a.b.-1"] {
            assert_eq!(caller(none), None, "{none}");
        }
    }
}

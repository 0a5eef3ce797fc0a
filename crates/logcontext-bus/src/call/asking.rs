//! A call on its way: what is the same for all of them.

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use logcontext::{LogContext, RemoteUsage};
use tokio::time::Instant;

use super::Callee;
use crate::bus::Inner;
use crate::error::{CallError, Waiting};
use crate::sender::sender;
use crate::transport::{Doing, Lane, Message, Outgoing, TransportError};
use crate::waits::{Kind, Told};
use crate::within::waiting;

/// Longer than this nobody waits: timers count on.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A call on its way.
pub(super) struct Asking {
    pub(super) inner: Arc<Inner>,
    pub(super) callee: Arc<Callee>,
    pub(super) timeout: Duration,
    origin: &'static Location<'static>,
    stage: Stage,
    began: Option<Instant>,
    lane: Lane,
    pub(super) depth: u8,
    /// Who has called, and pays.
    context: LogContext,
    /// Tells it from the others, while it is on its way.
    call: u64,
}

enum Stage {
    /// The request.
    New(Vec<u8>),
    /// The transport has it, and the broker not yet.
    Sending(Doing<'static, ()>),
    Sent,
    Over,
}

/// How it ended.
pub(super) enum Outcome {
    Answer(Message),
    Unserved,
    TooDeep(u8),
    TooLarge(usize),
    Expired(Waiting),
    Lost(Arc<str>),
    Refused(String),
    Closed,
}

impl Asking {
    pub(super) fn new(
        inner: Arc<Inner>,
        callee: Arc<Callee>,
        body: Vec<u8>,
        timeout: Duration,
        origin: &'static Location<'static>,
    ) -> Self {
        let stage = Stage::New(body);
        let timeout = timeout.min(LONGEST);
        Self {
            inner,
            callee,
            timeout,
            origin,
            stage,
            began: None,
            lane: Lane::First,
            depth: 0,
            context: LogContext::sentinel(),
            call: 0,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Stage::New(body) = &mut self.stage {
            let body = std::mem::take(body);
            if let Err(outcome) = self.begin(body, cx) {
                self.stage = Stage::Over;
                // Nothing else has sent anything.
                if matches!(outcome, Outcome::Lost(_)) {
                    self.charge_without_answer(&outcome);
                }
                return Poll::Ready(outcome);
            }
        }
        if let Stage::Sending(sending) = &mut self.stage {
            match sending.as_mut().poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.stage = Stage::Sent,
                Poll::Ready(Err(error)) => {
                    self.stage = Stage::Over;
                    self.inner.inbox.waits().forget(self.call);
                    let outcome = failed(error);
                    self.charge_without_answer(&outcome);
                    return Poll::Ready(outcome);
                }
            }
        }
        let Poll::Ready(told) = self.inner.inbox.waits().poll(self.call, cx) else { return Poll::Pending };
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let outcome = match told {
            Told::Answer(message) => Outcome::Answer(message),
            Told::Unserved => Outcome::Unserved,
            Told::Lost(why) => Outcome::Lost(why),
            Told::Closed | Told::Cancelled => Outcome::Closed,
            Told::Expired => {
                let waited_for = self.waited_for(&stage);
                drop(stage);
                self.inner.transport.calls().cancel(self.callee.name, self.lane, self.call);
                Outcome::Expired(waited_for)
            }
        };
        self.charge_without_answer(&outcome);
        Poll::Ready(outcome)
    }

    /// Sends it, from the current context.
    fn begin(&mut self, body: Vec<u8>, cx: &mut Context<'_>) -> Result<(), Outcome> {
        let inner = &self.inner;
        let context = sender(self.callee.name, self.origin);
        let depth = context.call_depth();
        self.depth = depth;
        if depth > inner.max_depth() {
            return Err(Outcome::TooDeep(depth));
        }
        let mut message = body;
        let length = message.len();
        let (head, timeout) = (&self.callee.head, millis(self.timeout));
        head.write(&mut message, &context, depth, timeout, &inner.identity);
        // One piece of memory for both.
        let mut body = Bytes::from(message);
        let message = Message { head: body.split_off(length), body };
        if message.len() > inner.config.max_message {
            return Err(Outcome::TooLarge(message.len()));
        }
        self.context = context;
        let began = inner.now();
        self.began = Some(began);
        self.lane = if depth == 0 { Lane::First } else { Lane::Nested };
        self.call = inner.inbox.waits().begin(Kind::Call, began + self.timeout, cx.waker());
        // From here on a drop forgets it.
        self.stage = Stage::Sent;
        if inner.inbox.is_closed() {
            inner.inbox.waits().forget(self.call);
            return Err(Outcome::Closed);
        }
        let (rpc, lane, call, timeout) = (self.callee.name, self.lane, self.call, self.timeout);
        let outgoing = Outgoing { rpc, lane, call, timeout, message };
        match inner.transport.calls().try_call(outgoing) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                inner.inbox.waits().forget(self.call);
                Err(failed(error))
            }
            Err(outgoing) => {
                let transport = Arc::clone(&inner.transport);
                self.stage = Stage::Sending(Box::pin(async move { transport.calls().call(outgoing).await }));
                Ok(())
            }
        }
    }

    fn waited_for(&self, stage: &Stage) -> Waiting {
        let transport = &*self.inner.transport;
        match (stage, transport.status().connected) {
            (Stage::Sending(_), _) => waiting(transport),
            (_, Err(why)) => Waiting::Connection(why),
            (_, Ok(())) => Waiting::Answer,
        }
    }

    /// Charges whoever has called.
    pub(super) fn charge(&self, cost: &RemoteUsage) {
        self.context.record_remote(cost);
    }

    /// The same where there is no answer to tell. What was never handled has cost nobody anything.
    fn charge_without_answer(&self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Expired(_) | Outcome::Lost(_) | Outcome::Closed) {
            self.charge(&RemoteUsage::unknown());
        }
    }

    /// Counts how it ended.
    pub(super) fn count<T, E>(&self, result: &Result<T, CallError<E>>) {
        if let Some(began) = self.began {
            self.callee.took(self.inner.now().saturating_duration_since(began));
        }
        match result {
            Ok(_) => self.callee.answered(),
            Err(error) => self.callee.ended(error),
        }
    }
}

/// Nobody waits for it any more.
impl Drop for Asking {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if matches!(stage, Stage::New(_) | Stage::Over) {
            return;
        }
        drop(stage);
        if self.inner.inbox.waits().forget(self.call) {
            self.inner.transport.calls().cancel(self.callee.name, self.lane, self.call);
        }
        self.charge(&RemoteUsage::unknown());
        self.callee.dropped();
    }
}

fn failed(error: TransportError) -> Outcome {
    match error {
        TransportError::Closed => Outcome::Closed,
        TransportError::Lost(why) => Outcome::Lost(why),
        TransportError::Refused(why) => Outcome::Refused(why),
    }
}

/// Rounded up: who serves it gives up no earlier than who calls.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

//! A call that was taken: it is answered, whatever happens.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use logcontext::{FutureExt, LogContext, Outcome, current_context};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::answerer::Failure;
use super::figures::{Became, Figures};
use crate::bus::Inner;
use crate::handlers::RunningHandler;
use crate::message::{Cost, Message, ReplyHead, Verdict};
use crate::transport::ReplyTo;
use crate::within::within;

/// A call that was taken, with what it takes up. Dropped before it was answered, it is answered as abandoned.
pub(super) struct Taken {
    pub(super) inner: Arc<Inner>,
    pub(super) figures: Arc<Figures>,
    /// `None` once it needs no answer any more.
    pub(super) from: Option<ReplyTo>,
    /// When it came.
    pub(super) at: Instant,
    /// Nobody waits for it after that.
    pub(super) due: Instant,
    pub(super) is_nested: bool,
    /// Its process runs: the current context is its own, from here to its end.
    pub(super) has_begun: bool,
    pub(super) _slot: Option<OwnedSemaphorePermit>,
    /// It runs until its process has ended, which is a little later.
    pub(super) running: Option<[RunningHandler; 2]>,
}

/// The end of its process.
pub(super) struct Done {
    failure: Option<Failure>,
    _running: Option<[RunningHandler; 2]>,
}

impl Outcome for Done {
    fn failure(&self) -> Option<&dyn Display> {
        self.failure.as_ref().map(|failure| failure as &dyn Display)
    }
}

/// An answer that waits for the broker.
type Sending<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Longer than this an answer does not wait for the broker, where its caller does not say how long it waits.
const LEAST: Duration = Duration::from_secs(1);

impl Taken {
    /// Sends the answer, and counts it; at once if it can, else when this is awaited.
    pub(super) fn answer(
        &mut self,
        verdict: Verdict,
        detail: Option<Box<str>>,
        body: Vec<u8>,
        became: Became,
    ) -> Option<Sending<'_>> {
        let to = self.from.take()?;
        let head = ReplyHead::new(verdict, detail, self.cost());
        let message = message(head, body, self.inner.config.max_message);
        match self.inner.transport.calls().try_reply(to, message) {
            Ok(heard) => {
                self.was_answered(became, heard.unwrap_or(false));
                None
            }
            Err((to, message)) => Some(Box::pin(async move {
                let time = self.due.saturating_duration_since(self.inner.now()).max(LEAST);
                let reply = self.inner.transport.calls().reply(to, message);
                let heard = within(&self.inner.runtime, time, reply).await;
                self.was_answered(became, heard.is_some_and(|heard| heard.unwrap_or(false)));
            })),
        }
    }

    /// The same, in one step.
    pub(super) async fn say(&mut self, what: (Verdict, Option<Box<str>>, Vec<u8>, Became)) {
        let (verdict, detail, body, became) = what;
        if let Some(sending) = self.answer(verdict, detail, body, became) {
            sending.await;
        }
    }

    /// What it has cost so far, the open slice included: whatever it does after its answer nobody is told.
    fn cost(&self) -> Option<Cost> {
        let is_told = self.has_begun && self.inner.config.costs_in_replies;
        is_told.then(|| Cost::of(&current_context().usage()))
    }

    fn was_answered(&self, became: Became, was_heard: bool) {
        let time = self.inner.now().saturating_duration_since(self.at);
        self.figures.count(if was_heard { became } else { Became::Unheard }, Some(time));
    }

    /// Gives back what it has taken up. Only when its failure has been logged and its context has finished, nobody waits
    /// for it any more.
    pub(super) fn done(mut self, failure: Option<Failure>) -> Done {
        Done { failure, _running: self.running.take() }
    }

    /// It needs no answer: its caller has gone.
    pub(super) fn is_unwanted(&mut self) {
        self.from = None;
        self.figures.count(Became::Cancelled, None);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(from) = self.from.take() {
            abandon(&self.inner, &self.figures, from, self.cost());
        }
        if self.is_nested {
            self.inner.nested.fetch_sub(1, SeqCst);
        }
    }
}

/// Nobody will handle it. What that has cost is not known where it was not begun.
pub(super) fn abandon(inner: &Arc<Inner>, figures: &Figures, from: ReplyTo, cost: Option<Cost>) {
    figures.count(Became::Answered(Verdict::Abandoned), None);
    let calls = inner.transport.calls();
    let head = ReplyHead::new(Verdict::Abandoned, None, cost);
    let message = message(head, Vec::new(), inner.config.max_message);
    let Err((to, message)) = calls.try_reply(from, message) else { return };
    let transport = Arc::clone(&inner.transport);
    let reply = async move { transport.calls().reply(to, message).await };
    // The supervisor starts nothing more by now, and nobody is there to wait for it.
    #[expect(clippy::disallowed_methods, reason = "the last word of what has been aborted")]
    drop(inner.runtime.spawn(reply.in_context(LogContext::sentinel())));
}

/// One piece of memory for both. An answer that only just fits comes without its cost.
fn message(mut head: ReplyHead, body: Vec<u8>, max_message: usize) -> Message {
    let length = body.len();
    let mut message = body;
    head.write(&mut message);
    if message.len() > max_message && head.cost.take().is_some() {
        message.truncate(length);
        head.write(&mut message);
    }
    let mut body = Bytes::from(message);
    Message { head: body.split_off(length), body }
}

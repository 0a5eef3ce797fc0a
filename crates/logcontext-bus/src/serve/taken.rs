//! A call that was taken: it is answered, whatever happens.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use logcontext::{FutureExt, LogContext};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::answerer::Said;
use super::figures::{Became, Figures};
use crate::bus::Inner;
use crate::handlers::RunningHandler;
use crate::message::{Message, ReplyHead, Verdict, WIRE, encode};
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
    pub(super) _slot: Option<OwnedSemaphorePermit>,
    pub(super) _running: [RunningHandler; 2],
}

/// Longer than this an answer does not wait for the broker, where its caller does not say how long it waits.
const LEAST: Duration = Duration::from_secs(1);

impl Taken {
    /// Sends the answer, and counts it.
    pub(super) async fn answer(&mut self, said: &Said, became: Became) {
        let Some(to) = self.from.take() else { return };
        let calls = self.inner.transport.calls();
        let heard = match calls.try_reply(to, message(said)) {
            Ok(heard) => heard.unwrap_or(false),
            Err((to, message)) => {
                let time = self.due.saturating_duration_since(self.inner.now()).max(LEAST);
                let sent = within(&self.inner.runtime, time, calls.reply(to, message)).await;
                sent.is_some_and(|heard| heard.unwrap_or(false))
            }
        };
        let time = self.inner.now().saturating_duration_since(self.at);
        self.figures.count(if heard { became } else { Became::Unheard }, Some(time));
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
            abandon(&self.inner, &self.figures, from);
        }
        if self.is_nested {
            self.inner.nested.fetch_sub(1, SeqCst);
        }
    }
}

/// Nobody will handle it.
pub(super) fn abandon(inner: &Arc<Inner>, figures: &Figures, from: ReplyTo) {
    figures.count(Became::Answered(Verdict::Abandoned), None);
    let calls = inner.transport.calls();
    let Err((to, message)) = calls.try_reply(from, message(&Said::only(Verdict::Abandoned))) else { return };
    let transport = Arc::clone(&inner.transport);
    let reply = async move { transport.calls().reply(to, message).await };
    // The supervisor starts nothing more by now, and nobody is there to wait for it.
    #[expect(clippy::disallowed_methods, reason = "the last word of what has been aborted")]
    drop(inner.runtime.spawn(reply.in_context(LogContext::sentinel())));
}

fn message(said: &Said) -> Message {
    let head = match (said.verdict, &said.detail) {
        (Verdict::Ok, None) => Bytes::from_static(ReplyHead::OK),
        (verdict, detail) => encode(&ReplyHead { wire: WIRE, verdict, detail: detail.clone() })
            .unwrap_or_else(|_| Bytes::from_static(br#"{"wire":1,"verdict":"panicked"}"#)),
    };
    Message { head, body: said.body.clone() }
}

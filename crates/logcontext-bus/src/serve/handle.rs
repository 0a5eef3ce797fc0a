//! The background process of one call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use logcontext::{Ending, Request, current_context};
use tracing::{debug, warn};

use super::answerer::{Answerer, Said};
use super::attend::{Attend, End};
use super::caller::{Caller, Gone};
use super::figures::Became;
use super::taken::{Done, Taken};
use crate::blocking::NotDone;
use crate::message::Verdict;

/// Handles it, in its context, and answers. Its failure is logged by whoever runs this.
///
/// This is what a call takes up while it is handled: what is seldom needed is elsewhere.
#[expect(clippy::manual_async_fn, reason = "the arguments of an async fn take up their room twice")]
pub(super) fn handle<A: Answerer>(
    answerer: Arc<A>,
    mut call: Taken,
    body: Bytes,
    refused: Option<Box<Said>>,
) -> impl Future<Output = Done> + Send {
    async move {
        call.has_begun = true;
        if let Some(said) = refused {
            return refuse(call, said).await;
        }
        let Some(from) = &call.from else { return call.done(None) };
        let end = if call.inner.inbox.handled().was_cancelled(from) {
            End::Cancelled
        } else {
            let gone = (!A::CAN_BE_DROPPED).then(Gone::default);
            let (due, for_caller) = (call.due, gone.clone());
            let caller = move || Caller::new(current_context(), due, for_caller.unwrap_or_default());
            let work = answerer.answer(&call.inner.threads, body, caller);
            Attend::new(&call.inner.inbox, from, due, gone, work).await
        };
        match end {
            End::Said(said) if said.verdict == Verdict::BadRequest => refuse(call, Box::new(said)).await,
            End::Said(said) => {
                let Said { verdict, detail, body, failure } = said;
                if let Some(sending) = call.answer(verdict, detail, body, Became::Answered(verdict)) {
                    sending.await;
                }
                call.done(failure)
            }
            end => end_otherwise(call, end).await,
        }
    }
}

/// It has not answered.
fn end_otherwise(mut call: Taken, end: End) -> Later<Done> {
    Box::pin(async move {
        let only = |verdict| (verdict, None, Vec::new(), Became::Answered(verdict));
        match end {
            End::Said(_) => {}
            End::NotDone(NotDone::Panicked(mut panic)) => {
                panic.report();
                call.say(only(Verdict::Panicked)).await;
                current_context().finish_as(Ending::Panicked);
            }
            End::NotDone(NotDone::NoThread(error)) => {
                let why = Some("there is no thread for it".into());
                let verdict = Verdict::Overloaded;
                call.say((verdict, why, Vec::new(), Became::Answered(verdict))).await;
                let failure = format!("there is no thread for its handler: {error}");
                return call.done(Some(Box::new(failure)));
            }
            End::Cancelled => {
                debug!(
                    target: "logcontext::bus",
                    rpc = call.figures.rpc,
                    "handler cancelled: its caller has gone",
                );
                call.is_unwanted();
                current_context().finish_as(Ending::Cancelled);
            }
            End::Expired => {
                warn!(
                    target: "logcontext::bus",
                    rpc = call.figures.rpc,
                    after = ?call.due.saturating_duration_since(call.at),
                    "handler cancelled: its caller waits no longer",
                );
                call.say(only(Verdict::Expired)).await;
                current_context().finish_as(Ending::Cancelled);
            }
        }
        call.done(None)
    })
}

/// Answers a call that is not begun, and says so once.
fn refuse(mut call: Taken, said: Box<Said>) -> Later<Done> {
    Box::pin(async move {
        let context = current_context();
        let Said { verdict, detail, body, .. } = *said;
        let reason = match verdict {
            Verdict::TooDeep => "too deep",
            Verdict::Expired => "came too late",
            _ => detail.as_deref().unwrap_or_default(),
        };
        warn!(
            target: "logcontext::bus",
            rpc = call.figures.rpc,
            sender = context.request().and_then(Request::client_address),
            started_by = context.started_by(),
            reason,
            "call refused",
        );
        let is_late = verdict == Verdict::Expired;
        let became = if is_late { Became::Late } else { Became::Answered(verdict) };
        call.say((verdict, detail, body, became)).await;
        context.finish_as(Ending::Failed);
        call.done(None)
    })
}

/// What is seldom needed, and takes up no place elsewhere.
type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

//! The background process of one call.

use std::sync::Arc;

use logcontext::{Ending, current_context};
use tracing::{debug, warn};

use super::answerer::{Answerer, Failure, Said};
use super::attend::{End, attend};
use super::caller::{Caller, Gone};
use super::figures::Became;
use super::taken::Taken;
use crate::blocking::NotDone;
use crate::message::Verdict;
use crate::transport::Message;

/// Handles it, in its context, and answers. Its failure is logged by whoever runs this.
pub(super) async fn handle<A: Answerer>(
    answerer: Arc<A>,
    mut call: Taken,
    message: Message,
) -> Result<(), Failure> {
    let Some(from) = call.from.clone() else { return Ok(()) };
    let inner = Arc::clone(&call.inner);
    if inner.inbox.handled().was_cancelled(&from) {
        call.is_unwanted();
        current_context().finish_as(Ending::Cancelled);
        return Ok(());
    }
    let gone = (!A::CAN_BE_DROPPED).then(Gone::default);
    let due = call.due;
    let caller = {
        let gone = gone.clone();
        move || Caller::new(current_context(), due, gone.unwrap_or_default())
    };
    let work = answerer.answer(&inner.threads, message.body, caller);
    match attend(&inner.inbox, &from, due, gone.as_ref(), work).await {
        End::Said(mut said) => {
            let failure = said.failure.take();
            if said.verdict == Verdict::BadRequest {
                refuse(&mut call, &said).await;
                return Ok(());
            }
            call.answer(&said, Became::Answered(said.verdict)).await;
            failure.map_or(Ok(()), Err)
        }
        End::NotDone(NotDone::Panicked(panic)) => {
            call.answer(&Said::only(Verdict::Panicked), Became::Answered(Verdict::Panicked)).await;
            drop(call);
            panic.resume()
        }
        End::NotDone(NotDone::NoThread(error)) => {
            let said = Said::because(Verdict::Overloaded, "there is no thread for it");
            call.answer(&said, Became::Answered(Verdict::Overloaded)).await;
            Err(Box::new(format!("there is no thread for its handler: {error}")))
        }
        End::Cancelled => {
            debug!(target: "logcontext::bus", rpc = call.figures.rpc, "handler cancelled: its caller has gone");
            call.is_unwanted();
            current_context().finish_as(Ending::Cancelled);
            Ok(())
        }
        End::Expired => {
            let after = due.saturating_duration_since(call.at);
            warn!(
                target: "logcontext::bus",
                rpc = call.figures.rpc,
                ?after,
                "handler cancelled: its caller waits no longer",
            );
            call.answer(&Said::only(Verdict::Expired), Became::Answered(Verdict::Expired)).await;
            current_context().finish_as(Ending::Cancelled);
            Ok(())
        }
    }
}

/// Answers a call that is not begun, and says so once.
pub(super) async fn refuse(call: &mut Taken, said: &Said) {
    let context = current_context();
    let is_late = said.verdict == Verdict::Expired;
    let reason = match said.verdict {
        Verdict::TooDeep => "too deep",
        Verdict::Expired => "came too late",
        _ => said.detail.as_deref().unwrap_or_default(),
    };
    warn!(
        target: "logcontext::bus",
        rpc = call.figures.rpc,
        sender = context.request().and_then(logcontext::Request::client_address),
        started_by = context.started_by(),
        reason,
        "call refused",
    );
    call.answer(said, if is_late { Became::Late } else { Became::Answered(said.verdict) }).await;
    context.finish_as(Ending::Failed);
}

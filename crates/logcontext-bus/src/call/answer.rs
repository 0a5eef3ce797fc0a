//! What an answer means to who has called.

use logcontext::RemoteUsage;

use super::asking::{Asking, Outcome};
use crate::error::{CallError, Waiting};
use crate::message::{Cost, Message, ReplyHead, Verdict, decode, printable};
use crate::rpc::Rpc;

type Answer<R> = Result<<R as Rpc>::Response, CallError<<R as Rpc>::Error>>;

pub(super) fn read<R: Rpc>(outcome: Outcome, asking: &Asking) -> Answer<R> {
    let config = &asking.inner.config;
    Err(match outcome {
        Outcome::Answer(message) => return read_message::<R>(&message, asking),
        Outcome::Unserved => CallError::NoServer(R::NAME),
        Outcome::TooDeep(depth) => CallError::TooDeep { depth, limit: config.max_depth },
        Outcome::TooLarge(size) => CallError::TooLarge { size, limit: config.max_message },
        Outcome::Expired(waiting) => CallError::Timeout { after: asking.timeout, waiting },
        Outcome::Lost(why) => CallError::ConnectionLost(why),
        Outcome::Refused(why) => CallError::Refused(why),
        Outcome::Closed => CallError::Closed,
    })
}

fn read_message<R: Rpc>(message: &Message, asking: &Asking) -> Answer<R> {
    let (size, limit) = (message.len(), asking.inner.config.max_message);
    let head = if size > limit { None } else { Some(ReplyHead::read(&message.head)) };
    // Whatever comes of the answer, this is what it has cost.
    let cost = head.as_ref().and_then(|head| head.as_ref().ok()?.cost);
    asking.charge(&cost.map_or_else(RemoteUsage::unknown, Cost::to_remote));
    let Some(head) = head else {
        let error = format!("is {size} bytes long: expected at most {limit}");
        return Err(CallError::BadResponse(error));
    };
    let ReplyHead { verdict, detail, .. } = head.map_err(|error| bad::<R>(&error))?;
    let detail = || printable(detail.as_deref().unwrap_or_default()).into_string();
    Err(match verdict {
        Verdict::Ok => {
            let response = decode(&message.body).map_err(|error| bad::<R>(&error))?;
            asking.callee.response.check(&message.body).map_err(CallError::BadResponse)?;
            return Ok(response);
        }
        Verdict::Error => {
            let error = decode(&message.body).map_err(|error| bad::<R>(&error))?;
            asking.callee.error.check(&message.body).map_err(CallError::BadResponse)?;
            CallError::Handler(error)
        }
        Verdict::Panicked => CallError::Panicked,
        Verdict::BadRequest => CallError::BadRequest(detail()),
        Verdict::BadResponse => CallError::BadResponse(detail()),
        Verdict::TooDeep => {
            // It says what it allows; whoever asks where nothing is said is told of the own limit.
            let limit = detail().parse().unwrap_or(asking.inner.config.max_depth);
            CallError::TooDeep { depth: asking.depth, limit }
        }
        Verdict::Overloaded => CallError::Overloaded(detail()),
        Verdict::Abandoned => CallError::Abandoned,
        Verdict::Expired => CallError::Timeout { after: asking.timeout, waiting: Waiting::Answer },
    })
}

fn bad<R: Rpc>(error: &str) -> CallError<R::Error> {
    CallError::BadResponse(printable(error).into_string())
}

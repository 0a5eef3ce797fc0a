//! What an answer means to who has called.

use super::asking::{Asking, Outcome};
use crate::error::{CallError, Waiting};
use crate::message::{Message, ReplyHead, Verdict, WIRE, decode, printable};
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
    if size > limit {
        let error = format!("is {size} bytes long: expected at most {limit}");
        return Err(CallError::BadResponse(error));
    }
    // Nearly all heads are this one.
    let (verdict, detail) = if message.head == ReplyHead::OK {
        (Verdict::Ok, None)
    } else {
        let head: ReplyHead = decode(&message.head).map_err(|error| bad::<R>(&error))?;
        if head.wire != WIRE {
            let error = format!("is of version {} of the bus: expected {WIRE}", head.wire);
            return Err(CallError::BadResponse(error));
        }
        (head.verdict, head.detail)
    };
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

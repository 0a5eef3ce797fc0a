//! Whether a call can be begun.

use std::time::Duration;

use super::answerer::Said;
use crate::message::{CallHead, Message, Verdict, WIRE, decode};

/// What a server takes.
pub(super) struct Rules {
    pub(super) rpc: &'static str,
    pub(super) version: u32,
    pub(super) max_message: usize,
    pub(super) max_depth: u8,
}

impl Rules {
    /// Its head, as far as it could be read, and for how long it is waited for; or what its caller is told.
    pub(super) fn examine(
        &self,
        message: &Message,
        age: Duration,
    ) -> (Option<CallHead>, Result<Duration, Said>) {
        let (size, limit) = (message.len(), self.max_message);
        if size > limit {
            return (None, bad(&format!("is {size} bytes long: expected at most {limit}")));
        }
        let head: CallHead = match decode(&message.head) {
            Ok(head) => head,
            Err(error) => return (None, bad(&format!("its head: {error}"))),
        };
        let result = self.examine_head(&head, age);
        (Some(head), result)
    }

    fn examine_head(&self, head: &CallHead, age: Duration) -> Result<Duration, Said> {
        if head.wire != WIRE {
            return bad(&format!("is of version {} of the bus: expected {WIRE}", head.wire));
        }
        if *head.rpc != *self.rpc {
            return bad(&format!("is a call of {:?}: expected {:?}", head.rpc, self.rpc));
        }
        if head.version != self.version {
            return bad(&format!("is of version {}: expected {}", head.version, self.version));
        }
        if head.depth > self.max_depth {
            return Err(Said::because(Verdict::TooDeep, &self.max_depth.to_string()));
        }
        let time = Duration::from_millis(head.timeout_ms).saturating_sub(age);
        if time.is_zero() {
            return Err(Said::only(Verdict::Expired));
        }
        Ok(time)
    }
}

fn bad(why: &str) -> Result<Duration, Said> {
    Err(Said::because(Verdict::BadRequest, why))
}

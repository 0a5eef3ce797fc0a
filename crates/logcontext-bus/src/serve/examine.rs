//! Whether a call can be begun.

use std::time::Duration;

use super::answerer::Said;
use crate::message::{AnyHead, CallFrom, HeadPrefix, Message, Verdict, WIRE};

/// What a server takes.
pub(super) struct Rules {
    pub(super) rpc: &'static str,
    pub(super) version: u32,
    pub(super) prefix: HeadPrefix,
    pub(super) max_message: usize,
    pub(super) max_depth: u8,
}

impl Rules {
    /// Its head, as far as it could be read, and for how long it is waited for; or what its caller is told.
    pub(super) fn examine<'a>(
        &self,
        message: &'a Message,
        age: Duration,
    ) -> (Option<AnyHead<'a>>, Result<Duration, Box<Said>>) {
        let (size, limit) = (message.len(), self.max_message);
        if size > limit {
            return (None, bad(&format!("is {size} bytes long: expected at most {limit}")));
        }
        match AnyHead::read(&message.head, &self.prefix) {
            Ok(head) => {
                let result = self.examine_head(&head, age);
                (Some(head), result)
            }
            Err(error) => (None, bad(&format!("its head: {error}"))),
        }
    }

    fn examine_head(&self, head: &AnyHead<'_>, age: Duration) -> Result<Duration, Box<Said>> {
        if let AnyHead::Other(head) = head {
            if head.wire != WIRE {
                return bad(&format!("is of version {} of the bus: expected {WIRE}", head.wire));
            }
            if *head.rpc != *self.rpc {
                return bad(&format!("is a call of {:?}: expected {:?}", head.rpc, self.rpc));
            }
            if head.version != self.version {
                return bad(&format!("is of version {}: expected {}", head.version, self.version));
            }
        }
        let CallFrom { depth, timeout_ms, .. } = head.from();
        if depth > self.max_depth {
            return Err(Box::new(Said::because(Verdict::TooDeep, &self.max_depth.to_string())));
        }
        let time = Duration::from_millis(timeout_ms).saturating_sub(age);
        if time.is_zero() {
            return Err(Box::new(Said::only(Verdict::Expired)));
        }
        Ok(time)
    }
}

fn bad(why: &str) -> Result<Duration, Box<Said>> {
    Err(Box::new(Said::because(Verdict::BadRequest, why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_on_its_way_for_as_long_as_it_is_waited_for_has_come_too_late() {
        let rules = Rules {
            rpc: "test.rpc",
            version: 1,
            prefix: HeadPrefix::new("test.rpc", 1),
            max_message: 1000,
            max_depth: 32,
        };
        let head =
            r#"{"wire":1,"rpc":"test.rpc","version":1,"depth":0,"timeout_ms":500,"from":{"sender":"a/1"}}"#;
        let message = Message { head: head.into(), body: "1".into() };
        let after = |millis| rules.examine(&message, Duration::from_millis(millis)).1;
        assert!(matches!(after(0), Ok(left) if left == Duration::from_millis(500)));
        assert!(matches!(after(499), Ok(left) if left == Duration::from_millis(1)));
        for late in [500, 501, 100_000] {
            assert!(matches!(after(late), Err(said) if said.verdict == Verdict::Expired));
        }
    }
}

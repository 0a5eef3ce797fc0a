//! Dead letters: a line that says whose it is and why, and the event.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::js;
use super::wire::Ask;
use crate::transport::{DeadLetter, Message};

#[derive(Serialize, Deserialize)]
struct Head {
    group: String,
    reason: String,
    deliveries: u32,
}

/// Kept once, whoever tells it how often.
pub(super) fn store(subject: &str, letter: &DeadLetter, once: &str) -> Ask {
    let DeadLetter { group, reason, deliveries, message } = letter;
    let head = Head { group: group.to_string(), reason: reason.clone(), deliveries: *deliveries };
    let mut text = serde_json::to_vec(&head).unwrap_or_default();
    text.push(b'\n');
    text.extend_from_slice(&message.to_frame());
    js::store_with(subject.to_owned(), text, js::ONCE, &super::names::token(once))
}

pub(super) fn parse(mut text: Bytes) -> Option<DeadLetter> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&text.split_to(end)).ok()?;
    Some(DeadLetter {
        group: Arc::from(head.group),
        reason: head.reason,
        deliveries: head.deliveries,
        message: Message::from_frame(text.slice(1..)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_read_as_it_was_written() {
        for (reason, head, body) in [("no", "{}", "17"), ("a \"b\"\n", "", ""), ("ü", "{}", "a\nb")] {
            let message = Message { head: head.into(), body: body.into() };
            let letter = DeadLetter { group: "a:b".into(), reason: reason.into(), deliveries: 3, message };
            assert_eq!(parse(store("s", &letter, "once").payload), Some(letter));
        }
        assert_eq!(parse("{}".into()), None);
        assert_eq!(parse("no\n{}\n".into()), None);
    }
}

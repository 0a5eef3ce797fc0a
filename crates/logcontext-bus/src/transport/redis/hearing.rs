//! What is published to this bus: answers to its calls, and which calls nobody waits for any more.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use redis::Value;

use super::session::UnderWay;
use super::value;
use crate::transport::{Inbox, Message, ReplyTo};

/// A message on a channel: that of replies, or one of cancelled calls.
pub(super) fn hear(data: Vec<Value>, replies: &[u8], under_way: &UnderWay, inbox: &Inbox) {
    let Ok([channel, payload]) = <[Value; 2]>::try_from(data) else { return };
    let Some(payload) = value::bytes(payload) else { return };
    if matches!(&channel, Value::BulkString(channel) if channel == replies) {
        if let Some((call, message)) = parse_reply(payload) {
            under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&call);
            match message {
                Some(message) => inbox.reply(call, message),
                None => inbox.unserved(call),
            };
        }
    } else if let Some(from) = parse_caller(&payload, &mut Arc::default()) {
        inbox.cancelled(&from);
    }
}

/// An answer: the call, a line feed, the message. The call alone: nobody serves it.
pub(super) fn reply(call: u64, message: &Message) -> Vec<u8> {
    let mut text = call.to_string().into_bytes();
    text.reserve(message.len() + 2);
    text.push(b'\n');
    text.extend_from_slice(&message.head);
    text.push(b'\n');
    text.extend_from_slice(&message.body);
    text
}

fn parse_reply(mut text: Bytes) -> Option<(u64, Option<Message>)> {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
        return Some((number(&text)?, None));
    };
    let call = number(&text.split_to(end))?;
    Some((call, Some(Message::from_frame(text.slice(1..)))))
}

/// Who has called, as `client:call`.
pub(super) fn caller(client: &str, call: u64) -> String {
    format!("{client}:{call}")
}

/// `known` is a client that is likely to have called: one name for many calls.
pub(super) fn parse_caller(text: &[u8], known: &mut Arc<str>) -> Option<ReplyTo> {
    let (client, call) = std::str::from_utf8(text).ok()?.rsplit_once(':')?;
    let call = number(call.as_bytes())?;
    if client != &**known {
        *known = client.into();
    }
    Some(ReplyTo { client: Arc::clone(known), call })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for (head, body) in [("{}", "17"), ("", ""), ("{}", "a\nb")] {
            let message = Message { head: head.into(), body: body.into() };
            let text = Bytes::from(reply(u64::MAX, &message));
            assert_eq!(parse_reply(text), Some((u64::MAX, Some(message))));
        }
        assert_eq!(parse_reply("17".into()), Some((17, None)));
    }

    #[test]
    fn what_others_publish_is_no_answer() {
        for text in ["", "\n", "x\n{}\n", "-1\n", "99999999999999999999\n{}"] {
            assert_eq!(parse_reply(text.into()), None, "{text:?}");
        }
        let mut known = Arc::default();
        for text in ["", "a", ":", "a:", "a:x", "a:-1"] {
            assert_eq!(parse_caller(text.as_bytes(), &mut known), None, "{text:?}");
        }
        assert_eq!(parse_caller(&[0xff, b':', b'1'], &mut known), None);
    }

    #[test]
    fn a_caller_is_read_as_it_was_written() {
        let caller = caller("presence/00ff", 17);
        let expected = ReplyTo { client: "presence/00ff".into(), call: 17 };
        let mut known: Arc<str> = "presence/00fe".into();
        assert_eq!(parse_caller(caller.as_bytes(), &mut known), Some(expected));
        assert_eq!(&*known, "presence/00ff");
    }
}

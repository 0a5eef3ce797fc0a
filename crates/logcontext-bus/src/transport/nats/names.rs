//! What things are called at the broker. Subjects are made of tokens with dots between them: what comes from outside is one
//! token each, written so that nothing of it means anything to the broker.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::transport::{DeliveryId, Lane};

/// The names of one prefix.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: Arc<str>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: token(prefix).into() }
    }

    fn subject(&self, parts: &[&str]) -> String {
        format!("{}.{}", self.prefix, parts.join("."))
    }

    fn stream(&self, kind: &str, name: &str) -> String {
        format!("{}_{kind}_{}", self.prefix, token(name))
    }

    /// The stream of an event, with all its partitions.
    pub(super) fn events(&self, event: &str) -> String {
        self.stream("event", event)
    }

    /// The event of such a stream.
    pub(super) fn event_of<'a>(&self, stream: &'a str) -> Option<&'a str> {
        stream.strip_prefix(&*self.prefix)?.strip_prefix("_event_")
    }

    /// All events.
    pub(super) fn all_events(&self) -> String {
        self.subject(&["event", ">"])
    }

    /// All partitions of an event.
    pub(super) fn partitions(&self, event: &str) -> String {
        self.subject(&["event", &token(event), "*"])
    }

    pub(super) fn partition(&self, event: &str, partition: u16) -> String {
        self.subject(&["event", &token(event), &partition.to_string()])
    }

    /// Rings when something is stored in a partition; of all partitions, where there is none.
    pub(super) fn bell(&self, event: &str, partition: &str) -> String {
        self.subject(&["bell", &token(event), partition])
    }

    /// The stream of an event's dead letters that are tried again.
    pub(super) fn retried(&self, event: &str) -> String {
        self.stream("retried", event)
    }

    /// Those of all groups.
    pub(super) fn all_retried(&self, event: &str) -> String {
        self.subject(&["retried", &token(event), "*"])
    }

    pub(super) fn retried_of(&self, event: &str, group: &str) -> String {
        self.subject(&["retried", &token(event), &token(group)])
    }

    /// The stream of an event's dead letters.
    pub(super) fn dead(&self, event: &str) -> String {
        self.stream("dead", event)
    }

    pub(super) fn dead_letters(&self, event: &str) -> String {
        self.subject(&["dead", &token(event)])
    }

    /// Where consumers of a group tell each other what they have taken over.
    pub(super) fn taken(&self, event: &str, group: &str) -> String {
        self.subject(&["taken", &token(event), &token(group)])
    }

    /// The stream of the calls of a lane.
    pub(super) fn calls(&self, rpc: &str, lane: Lane) -> String {
        self.stream(&format!("call-{}", lane_name(lane)), rpc)
    }

    pub(super) fn all_calls(&self, rpc: &str, lane: Lane) -> String {
        self.subject(&["call", &token(rpc), lane_name(lane), "*", "*"])
    }

    pub(super) fn call(&self, rpc: &str, lane: Lane, client: &str, call: u64) -> String {
        self.subject(&["call", &token(rpc), lane_name(lane), &token(client), &call.to_string()])
    }

    /// Who serves it hears this.
    pub(super) fn serves(&self, rpc: &str, lane: Lane) -> String {
        self.subject(&["serves", &token(rpc), lane_name(lane)])
    }

    /// Tells who serves it what nobody waits for any more.
    pub(super) fn cancelled(&self, rpc: &str) -> String {
        self.subject(&["cancel", &token(rpc)])
    }

    /// All answers to calls of this bus.
    pub(super) fn replies(&self, client: &str) -> String {
        self.subject(&["reply", &token(client), ">"])
    }

    pub(super) fn reply(&self, client: &str, call: u64) -> String {
        self.subject(&["reply", &token(client), &call.to_string()])
    }

    /// Instead of an answer: nobody serves it.
    pub(super) fn unserved(&self, client: &str, call: u64) -> String {
        self.subject(&["reply", &token(client), &call.to_string(), "unserved"])
    }

    /// What this bus alone hears.
    pub(super) fn own(&self, client: &str, what: &str) -> String {
        self.subject(&["own", &token(client), what])
    }

    /// The stream of all that is kept by name.
    pub(super) fn kept(&self) -> String {
        format!("{}_kept", self.prefix)
    }

    pub(super) fn all_kept(&self) -> String {
        self.subject(&["kept", ">"])
    }

    pub(super) fn clock(&self, client: &str) -> String {
        self.subject(&["kept", "clock", &token(client)])
    }

    pub(super) fn lease(&self, name: &str) -> String {
        self.subject(&["kept", "lease", &token(name)])
    }

    pub(super) fn part(&self, name: &str, client: &str) -> String {
        self.subject(&["kept", "part", &token(name), &token(client)])
    }

    pub(super) fn parts(&self, name: &str) -> String {
        self.subject(&["kept", "part", &token(name), "*"])
    }

    pub(super) fn schema(&self, name: &str) -> String {
        self.subject(&["kept", "schema", &token(name)])
    }

    /// How often an event has come to somebody.
    pub(super) fn times(&self, event: &str, group: &str, id: DeliveryId) -> String {
        let (partition, sequence) = (id.partition.to_string(), id.id.0.to_string());
        self.subject(&["kept", "times", &token(event), &token(group), &partition, &sequence])
    }
}

/// The consumer of a group in a partition.
pub(super) fn consumer(group: &str, partition: u16) -> String {
    format!("{}_{partition}", token(group))
}

/// The group and the partition of a consumer.
pub(super) fn parse_consumer(name: &str) -> Option<(String, u16)> {
    let (group, partition) = name.rsplit_once('_')?;
    Some((untoken(group)?, partition.parse().ok()?))
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::First => "first",
        Lane::Nested => "nested",
    }
}

/// As one token of a subject, and of the name of a stream: letters, digits, `-` and `_` as they are, what is common in names
/// by one character, all else by its bytes.
pub(super) fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => token.push(char::from(byte)),
            b'.' => token.push('='),
            b':' => token.push('+'),
            byte => {
                let _ = write!(token, "~{byte:02x}");
            }
        }
    }
    token
}

/// What was written so.
pub(super) fn untoken(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'=' => b'.',
            b'+' => b':',
            b'~' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_means_nothing_to_the_broker() {
        for text in ["presence.changed", "presence:sender", "a/17", "*", ">", "a b\r\n", "~=+", "ü", "x_y-z"]
        {
            let written = token(text);
            assert_eq!(untoken(&written).as_deref(), Some(text));
            assert!(!written.contains(['.', '*', '>', ' ', '\r', '\n', '/', '\\']), "{written}");
        }
        assert_eq!(untoken("~z"), None);
    }

    #[test]
    fn a_consumer_says_whose_it_is() {
        assert_eq!(
            parse_consumer(&consumer("presence:send_er", 17)),
            Some(("presence:send_er".to_owned(), 17))
        );
        for none in ["", "a", "a_b", "a_70000"] {
            assert_eq!(parse_consumer(none), None, "{none}");
        }
    }

    #[test]
    fn the_event_of_a_stream_is_known() {
        let names = Names::new("my.prefix");
        assert_eq!(names.event_of(&names.events("presence.changed")), Some("presence=changed"));
        assert_eq!(names.event_of(&names.dead("presence.changed")), None);
        assert_eq!(Names::new("other").event_of(&names.events("presence.changed")), None);
    }
}

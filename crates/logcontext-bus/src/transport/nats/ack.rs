//! What the subject says by which a message is acknowledged.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `$JS.ACK.stream.consumer.deliveries.sequence.number.nanoseconds.pending`; of later brokers with a domain and an account
/// in front of the stream, and more behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    /// All of it
    pub(super) subject: String,
    pub(super) stream: String,
    pub(super) consumer: String,
    /// How often it was delivered
    pub(super) deliveries: u64,
    /// Where it is in its stream
    pub(super) sequence: u64,
    /// When it was stored, in nanoseconds since 1970
    pub(super) nanos: u64,
}

impl Ack {
    pub(super) fn parse(subject: &str) -> Option<Self> {
        let tokens: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = if tokens.len() >= 9 { &tokens[2..] } else { &tokens[..] };
        let [stream, consumer, deliveries, sequence, _, nanos, ..] = tokens else { return None };
        Some(Self {
            subject: subject.to_owned(),
            stream: (*stream).to_owned(),
            consumer: (*consumer).to_owned(),
            deliveries: deliveries.parse().ok()?,
            sequence: sequence.parse().ok()?,
            nanos: nanos.parse().ok()?,
        })
    }

    pub(super) fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.nanos)
    }
}

/// That of a message that somebody else has, as far as the broker looks at it.
pub(super) fn of_another(stream: &str, consumer: &str, sequence: u64, number: u64) -> String {
    format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.{number}.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brokers_write_is_read() {
        let old = Ack::parse("$JS.ACK.S.g_0.2.17.3.1795312148538266283.5").unwrap();
        assert_eq!((&*old.stream, &*old.consumer, old.deliveries, old.sequence), ("S", "g_0", 2, 17));
        assert_eq!(old.at(), UNIX_EPOCH + Duration::from_nanos(1_795_312_148_538_266_283));
        let new = Ack::parse("$JS.ACK.hub.abc.S.g_0.2.17.3.1795312148538266283.5.xyz").unwrap();
        assert_eq!(
            (new.stream, new.consumer, new.sequence, new.nanos),
            (old.stream, old.consumer, 17, old.nanos)
        );
        let another = Ack::parse(&of_another("S", "g_0", 17, 9)).unwrap();
        assert_eq!((&*another.stream, &*another.consumer, another.sequence), ("S", "g_0", 17));
        for none in ["", "$JS.ACK.S.g", "$JS.ACK.S.g.a.b.c.d.e", "S.g.1.2.3.4.5"] {
            assert_eq!(Ack::parse(none), None, "{none}");
        }
    }
}

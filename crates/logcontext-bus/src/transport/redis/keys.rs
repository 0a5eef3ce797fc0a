//! What things are called at the broker. No name has a colon in it.

use std::sync::Arc;

use crate::transport::{DeliveryId, Lane};

/// The keys of one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The set of all streams of events, as [`entry`](Self::entry) writes them.
    pub(super) fn registry(&self) -> String {
        format!("{}:events", self.prefix)
    }

    pub(super) fn entry(event: &str, partition: u16) -> String {
        format!("{event}:{partition}")
    }

    pub(super) fn parse_entry(entry: &str) -> Option<(&str, u16)> {
        let (event, partition) = entry.rsplit_once(':')?;
        Some((event, partition.parse().ok()?))
    }

    /// A stream of events; of a group's dead letters that are tried again, where the partition says so.
    pub(super) fn stream(&self, event: &str, group: &str, partition: u16) -> String {
        if partition == DeliveryId::RETRIED {
            format!("{}{group}", self.retried(event))
        } else {
            self.events(event, partition)
        }
    }

    pub(super) fn events(&self, event: &str, partition: u16) -> String {
        format!("{}:event:{event}:{partition}", self.prefix)
    }

    /// What the streams of dead letters that are tried again begin with: the group follows.
    pub(super) fn retried(&self, event: &str) -> String {
        format!("{}:retried:{event}:", self.prefix)
    }

    pub(super) fn dead_letters(&self, event: &str) -> String {
        format!("{}:dead:{event}", self.prefix)
    }

    pub(super) fn calls(&self, rpc: &str, lane: Lane) -> String {
        let lane = match lane {
            Lane::First => "first",
            Lane::Nested => "nested",
        };
        format!("{}:call:{rpc}:{lane}", self.prefix)
    }

    pub(super) fn servers(&self, rpc: &str, lane: Lane) -> String {
        format!("{}:servers", self.calls(rpc, lane))
    }

    /// The channel that tells who serves it what nobody waits for any more.
    pub(super) fn cancelled(&self, rpc: &str) -> String {
        format!("{}:cancel:{rpc}", self.prefix)
    }

    /// What channels of replies begin with: the bus follows.
    pub(super) fn replies(&self) -> String {
        format!("{}:reply:", self.prefix)
    }

    pub(super) fn lease(&self, name: &str) -> String {
        format!("{}:lease:{name}", self.prefix)
    }

    pub(super) fn parts(&self, name: &str) -> String {
        format!("{}:part:{name}", self.prefix)
    }

    pub(super) fn schemas(&self) -> String {
        format!("{}:schemas", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_registry_is_read_as_it_was_written() {
        assert_eq!(Keys::parse_entry(&Keys::entry("presence.changed", 17)), Some(("presence.changed", 17)));
        for none in ["", "a", "a:b", "a:70000"] {
            assert_eq!(Keys::parse_entry(none), None, "{none}");
        }
    }
}

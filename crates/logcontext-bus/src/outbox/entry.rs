//! [`Entry`]: an event that waits to be sent.

use std::time::Duration;

use logcontext_db::{Error, Row};

use super::names;
use crate::fire::MAX_PARTITIONS;
use crate::message::{EventHead, Message, decode, printable};
use crate::transport::Publish;

/// An event that waits to be sent.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: i64,
    /// What must stay in order with it has the same.
    pub(super) lane: i64,
    /// So long it had waited when it was read.
    pub(super) age: Duration,
    /// What to send; or why that cannot be.
    pub(super) publish: Result<Publish, String>,
}

impl Entry {
    /// Of a row. What somebody else may have written there is looked at like what comes from outside.
    ///
    /// # Errors
    /// If not even that can be read which the row is known by.
    pub(super) fn read(row: &Row, max_message: usize) -> Result<Self, Error> {
        let now: i64 = row.get("now")?;
        // SQLite keeps in a column whatever is put there.
        let (at, lane) = (row.get::<i64>("at").unwrap_or(now), row.get::<i64>("lane"));
        let age = Duration::from_millis(u64::try_from(now.saturating_sub(at)).unwrap_or(0));
        let publish = match &lane {
            Ok(_) => publish(row, max_message),
            Err(error) => Err(printable(&error.to_string()).into_string()),
        };
        Ok(Self { id: row.get("id")?, lane: lane.unwrap_or_default(), age, publish })
    }
}

fn publish(row: &Row, max_message: usize) -> Result<Publish, String> {
    let column = |error: Error| printable(&error.to_string()).into_string();
    let event = names::known(row.get::<&str>("event").map_err(column)?)?;
    let partition: i64 = row.get("partition_no").map_err(column)?;
    let partition = u16::try_from(partition).ok().filter(|partition| *partition < MAX_PARTITIONS);
    let Some(partition) = partition else {
        return Err(format!("its partition is none: expected 0 to {}", MAX_PARTITIONS - 1));
    };
    let head: Vec<u8> = row.get("head").map_err(column)?;
    let body: Vec<u8> = row.get("body").map_err(column)?;
    let message = Message { head: head.into(), body: body.into() };
    if message.len() > max_message {
        return Err(format!("is {} bytes long: expected at most {max_message}", message.len()));
    }
    match decode::<EventHead>(&message.head) {
        Ok(head) if &*head.event == event => Ok(Publish { event, partition, message }),
        Ok(head) => Err(format!("its head is that of {}: expected {event}", printable(&head.event))),
        Err(error) => Err(format!("its head cannot be read: {}", printable(&error))),
    }
}

/// What an event must stay in order with: those of the same key, or those without one.
pub(super) fn lane(event: &str, key: Option<&str>) -> i64 {
    // FNV-1a, 64 bits. Two keys that share one only wait for each other.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let event = event.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let lane = key.map_or(event, |key| key.bytes().fold(hash(event, b'/'), hash));
    lane.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_that_of_its_key_and_event_for_ever() {
        assert_eq!(lane("presence.changed", Some("alice")), lane("presence.changed", Some("alice")));
        assert_ne!(lane("presence.changed", Some("alice")), lane("presence.changed", Some("bob")));
        assert_ne!(lane("presence.changed", Some("alice")), lane("presence.set", Some("alice")));
        assert_ne!(lane("presence.changed", Some("")), lane("presence.changed", None));
        // Those of other versions are in the table.
        assert_eq!(lane("a", None), 0xaf63_dc4c_8601_ec8c_u64.cast_signed());
    }
}

//! [`Event`]: something that has happened.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Something that has happened, which whoever listens is told of.
///
/// ```
/// use logcontext_bus::Event;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use std::borrow::Cow;
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct PresenceChanged {
///     user: String,
///     online: bool,
/// }
///
/// impl Event for PresenceChanged {
///     const NAME: &str = "presence.changed";
///
///     // Those of one user stay in order, where a listener asks for that.
///     fn key(&self) -> Option<Cow<'_, str>> {
///         Some(Cow::Borrowed(&self.user))
///     }
/// }
/// assert_eq!(PresenceChanged::PARTITIONS, 1);
/// ```
pub trait Event: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Its name: 1 to 100 of `A-Z a-z 0-9 . _ -`.
    const NAME: &'static str;

    /// The version of its shape. Who listens refuses other versions than its own: they go to the dead letters.
    const VERSION: u32 = 1;

    /// So many streams it is spread over by its key, so that several processes can keep the order of keys at once. All who
    /// fire it and listen to it must know the same number. At most 256.
    const PARTITIONS: u16 = 1;

    /// What those that must stay in order have in common. `None`: in order with nothing.
    fn key(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// The partition of a key: the same in every process, on every machine (FNV-1a, 64 bits).
pub(crate) fn partition(key: Option<&str>, partitions: u16) -> u16 {
    let Some(key) = key.filter(|_| partitions > 1) else { return 0 };
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % u64::from(partitions)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_same_partition_for_ever() {
        assert_eq!(partition(Some("alice"), 16), 7);
        assert_eq!(partition(Some("alice"), 1), 0);
        assert_eq!(partition(None, 16), 0);
    }

    #[test]
    fn keys_are_spread_over_all_partitions() {
        let mut counts = [0; 8];
        for i in 0..8_000 {
            counts[usize::from(partition(Some(&format!("user-{i}")), 8))] += 1;
        }
        assert!(counts.iter().all(|n| (800..1_200).contains(n)), "{counts:?}");
    }
}

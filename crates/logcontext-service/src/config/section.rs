//! A part of the configuration that one type reads.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::check::{Check, Faults};
use super::message::ReadError;
use super::node::Node;

/// A section, without its type.
#[derive(Clone)]
pub(super) struct Section {
    /// Empty for the top level.
    pub(super) key: String,
    pub(super) read: fn(&Node) -> Result<Read, ReadError>,
    pub(super) default: fn() -> Result<toml::Table, String>,
}

/// What came of reading it.
pub(super) struct Read {
    /// All its values; the error says why they cannot be told.
    pub(super) values: Result<toml::Table, String>,
    pub(super) faults: Faults,
}

impl Section {
    pub(super) fn new<T: Serialize + DeserializeOwned + Default>(key: &str) -> Self {
        let default = || values(&T::default());
        let read = |node: &Node| {
            let settings = T::deserialize(node)?;
            Ok(Read { values: values(&settings), faults: Faults::default() })
        };
        Self { key: key.to_owned(), read, default }
    }

    pub(super) fn checked<T: Serialize + DeserializeOwned + Default + Check>(key: &str) -> Self {
        let read = |node: &Node| {
            let settings = T::deserialize(node)?;
            let mut faults = Faults::default();
            settings.check(&mut faults);
            Ok(Read { values: values(&settings), faults })
        };
        Self { read, ..Self::new::<T>(key) }
    }
}

fn values<T: Serialize>(settings: &T) -> Result<toml::Table, String> {
    toml::Table::try_from(settings).map_err(|error| error.to_string())
}

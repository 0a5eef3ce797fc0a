//! Where the server tells of itself.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{InvalidAddress, ListenAddress};
use crate::config::Secret;

/// Where the server tells of itself: metrics, health, readiness, what runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AdminSettings {
    /// An address as of a listener, or `off`. One that other machines can reach needs a token.
    pub address: Option<AdminAddress>,
    /// What all but health and readiness ask for, as `authorization: Bearer <token>`.
    pub token: Option<Secret>,
}

impl AdminSettings {
    /// Where, if anywhere.
    pub fn address(&self) -> Option<&ListenAddress> {
        match &self.address {
            Some(AdminAddress::At(address)) => Some(address),
            Some(AdminAddress::Off) | None => None,
        }
    }

    /// Where strangers could ask without a token.
    pub(crate) fn exposed(&self) -> Option<&ListenAddress> {
        self.address().filter(|address| self.token.is_none() && !address.is_of_this_machine_only())
    }
}

/// Where, if at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// There.
    At(ListenAddress),
}

const OFF: &str = "off";

impl From<ListenAddress> for AdminAddress {
    fn from(address: ListenAddress) -> Self {
        Self::At(address)
    }
}

impl FromStr for AdminAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if text == OFF { Ok(Self::Off) } else { text.parse().map(Self::At) }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Serialize for AdminAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|error| D::Error::custom(format_args!("{error}, or off")))
    }
}

impl JsonSchema for AdminAddress {
    fn schema_name() -> Cow<'static, str> {
        "AdminAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

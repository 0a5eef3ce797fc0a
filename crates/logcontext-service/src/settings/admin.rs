//! Where the server tells of itself.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ListenAddress;
use crate::config::{Secret, TextError, typed_text};

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

impl AdminAddress {
    const EXPECTED: &str = "an address such as 127.0.0.1:9009 or unix:/run/admin.sock, or off";
}

impl From<ListenAddress> for AdminAddress {
    fn from(address: ListenAddress) -> Self {
        Self::At(address)
    }
}

impl FromStr for AdminAddress {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        if text == OFF {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| TextError(Self::EXPECTED))
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

typed_text!(AdminAddress, "AdminAddress", { "type": "string", "x-value-name": "ADDRESS" });

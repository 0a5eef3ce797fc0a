//! The section `presence.bus`.

use logcontext_bus::BusConfig;
use logcontext_service::config::{BusUrl, Faults, PositiveTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::server::Presence;

/// Where the bus is.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// Where its broker is: `memory:` is this process alone, `redis://host:6379/` is a server's.
    pub url: BusUrl,
    /// What all keys of the broker begin with, so that several services may share it.
    pub prefix: String,
    /// What a process has in hand is taken over by others when it has given no sign for so long: events, shards of hubs, the
    /// sending from the database.
    pub claim_after: PositiveTime,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            url: BusUrl::memory(),
            prefix: "presence".to_owned(),
            claim_after: PositiveTime::from_secs(15),
        }
    }
}

impl BusSettings {
    /// How to set the bus up.
    pub fn config(&self) -> BusConfig {
        let name = <Presence as logcontext_service::Server>::NAME;
        BusConfig {
            prefix: self.prefix.clone(),
            claim_after: self.claim_after.get(),
            ..BusConfig::new(name, self.url.with_password())
        }
    }

    /// Can other processes be on it?
    pub fn is_shared(&self) -> bool {
        self.url != BusUrl::memory()
    }

    /// Looks whether a bus can be set up so. Whether it can be reached is seen when it is.
    pub(crate) fn check(&self, faults: &mut Faults) {
        if let Err(error) = self.config().check() {
            faults.add("bus", error.to_string());
        }
    }
}

//! The section `presence.federation`.

use std::collections::{BTreeMap, HashSet};

use hyper::header::HeaderValue;
use logcontext_service::config::{Faults, PositiveTime, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HubName, HubUrl, InvalidHubName};

/// Which other hubs there are, and how they are told of presence.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FederationSettings {
    /// What this hub is called. Without a name it does not federate.
    pub hub: String,
    /// How long to wait after a hub could not be told, before the second try; then twice as long each time.
    pub retry_first: PositiveTime,
    /// How long to wait for the next try at most.
    pub retry_limit: PositiveTime,
    /// How long a transaction may take.
    pub timeout: PositiveTime,
    /// After an outage, who has done nothing for so long is told to be offline, whatever they were.
    pub stale_after: PositiveTime,
    /// The other hubs, by name.
    pub hubs: BTreeMap<String, HubSettings>,
}

/// Another hub.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HubSettings {
    /// Where it is: `http://host:port`.
    pub url: HubUrl,
    /// What both hubs know and nobody else: sent with what they are told, and what they are known by.
    pub secret: Secret,
    /// Whether it is told of everybody, also of those whom it does not follow.
    #[serde(default)]
    pub follows_all: bool,
}

impl Default for FederationSettings {
    fn default() -> Self {
        Self {
            hub: String::new(),
            retry_first: PositiveTime::from_secs(1),
            retry_limit: PositiveTime::from_secs(3_600),
            timeout: PositiveTime::from_secs(10),
            stale_after: PositiveTime::from_secs(30 * 60),
            hubs: BTreeMap::new(),
        }
    }
}

impl FederationSettings {
    /// What this hub is called; `None` if it does not federate.
    ///
    /// ```
    /// use presence::federation::FederationSettings;
    ///
    /// let settings = FederationSettings { hub: "one".to_owned(), ..FederationSettings::default() };
    /// assert_eq!(settings.hub().unwrap().as_str(), "one");
    /// assert_eq!(FederationSettings::default().hub(), None);
    /// ```
    pub fn hub(&self) -> Option<HubName> {
        self.hub.parse().ok()
    }

    /// The others. A name that is none is left out: it is refused where the settings are read.
    pub fn others(&self) -> impl Iterator<Item = (HubName, &HubSettings)> {
        self.hubs.iter().filter_map(|(name, hub)| Some((name.parse().ok()?, hub)))
    }

    /// Adds what is wrong. Secrets show in none of it.
    pub(crate) fn check(&self, faults: &mut Faults) {
        let text = |InvalidHubName| InvalidHubName.to_string().replacen("expected ", "", 1);
        if let (false, Err(error)) = (self.hub.is_empty(), self.hub.parse::<HubName>()) {
            faults.add("federation.hub", text(error));
        }
        if self.hub.is_empty() && !self.hubs.is_empty() {
            faults.add("federation.hub", "a name for this hub, as there are others");
        }
        if self.retry_limit < self.retry_first {
            let expected = format!("no less than retry_first, which is {}", self.retry_first);
            faults.add("federation.retry_limit", expected);
        }
        let mut secrets = HashSet::new();
        for (name, hub) in &self.hubs {
            let key = format!("federation.hubs.{name}");
            if let Err(error) = name.parse::<HubName>() {
                faults.add(&*key, text(error));
            } else if *name == self.hub {
                faults.add(&*key, "the name of another hub: this one has it itself");
            }
            if HeaderValue::from_str(hub.secret.expose()).is_err() {
                faults.add(format!("{key}.secret"), "a secret of visible ASCII characters");
            } else if !secrets.insert(hub.secret.expose()) {
                faults.add(format!("{key}.secret"), "a secret that no other hub has");
            }
        }
    }
}

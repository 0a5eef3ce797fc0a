//! [`Peers`]: which hub calls, by its secret.

use logcontext_service::config::Secret;

use super::{FederationSettings, HubName};

/// The hubs that may call, with their secrets.
#[derive(Debug)]
pub(crate) struct Peers(Vec<(HubName, Secret)>);

impl Peers {
    pub(crate) fn new(settings: &FederationSettings) -> Self {
        Self(settings.others().map(|(name, hub)| (name, hub.secret.clone())).collect())
    }

    /// Whose secret that is. All are compared, each in constant time: how long it takes tells nobody anything.
    pub(crate) fn of_secret(&self, secret: &str) -> Option<&HubName> {
        self.0.iter().fold(None, |found, (name, theirs)| if theirs.is(secret) { Some(name) } else { found })
    }

    pub(crate) fn knows(&self, name: &HubName) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

//! What can be said of the service, beside what every server can be told.

use logcontext_service::Section;
use logcontext_service::config::{DatabaseUrl, Faults, PositiveTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bus::BusSettings;
use crate::federation::FederationSettings;
use crate::prune::Retention;
use crate::role::Role;
use crate::status::StatusSettings;
use crate::store::{Limits, Timeouts};

const DAY: u64 = 24 * 60 * 60;

/// The section `presence`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresenceSettings {
    /// What this process does: `all`; or where there are several, `api` answers users and other hubs, and `sender` tells
    /// other hubs what has changed. Several need a bus and a database that they share.
    pub role: Role,
    /// Who is online and does nothing for so long becomes unavailable.
    pub unavailable_after: PositiveTime,
    /// Who does nothing for so long becomes offline.
    pub offline_after: PositiveTime,
    /// How often to look who that is.
    pub time_out_every: PositiveTime,
    /// How long the history of each presence is kept.
    pub history_retention: PositiveTime,
    /// Who is offline and has done nothing for so long is forgotten, once there is no history left of them.
    pub user_retention: PositiveTime,
    /// How often to delete what is older than that.
    pub prune_every: PositiveTime,
    /// The bus that others hear of changes by.
    pub bus: BusSettings,
    /// What `presence status` looks at.
    pub status: StatusSettings,
    /// Other hubs, which are told of presence and tell of theirs.
    pub federation: FederationSettings,
}

impl Default for PresenceSettings {
    fn default() -> Self {
        let seconds = PositiveTime::from_secs;
        Self {
            role: Role::default(),
            unavailable_after: seconds(30),
            offline_after: seconds(5 * 60),
            time_out_every: seconds(1),
            history_retention: seconds(7 * DAY),
            user_retention: seconds(30 * DAY),
            prune_every: seconds(60),
            bus: BusSettings::default(),
            status: StatusSettings::default(),
            federation: FederationSettings::default(),
        }
    }
}

impl Section for PresenceSettings {
    fn check(&self, faults: &mut Faults) {
        if self.offline_after < self.unavailable_after {
            let expected =
                format!("no less than presence.unavailable_after, which is {}", self.unavailable_after);
            faults.add("offline_after", expected);
        }
        if self.role != Role::All && !self.bus.is_shared() {
            faults.add("role", "all, unless presence.bus.url is a broker that other processes can be on");
        }
        self.bus.check(faults);
        self.federation.check(faults);
    }
}

impl Section for DatabaseSettings {}

impl PresenceSettings {
    /// After how long presence times out.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts { unavailable: self.unavailable_after.get(), offline: self.offline_after.get() }
    }

    /// How long things are kept.
    pub fn retention(&self) -> Retention {
        Retention { history: self.history_retention.get(), users: self.user_retention.get() }
    }
}

/// The section `database`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Where it is: `sqlite:<file>?mode=rwc` makes the file, `postgres://user:password@host/database` is a server's.
    pub url: DatabaseUrl,
    /// How long a request may wait for a connection.
    pub acquire_timeout: PositiveTime,
    /// How long a statement may take.
    pub statement_timeout: PositiveTime,
    /// How many users there can be.
    pub max_users: u32,
    /// How long a presence that was set is answered from memory: what other processes write is seen after that.
    pub remembered: Time,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            // A file in the current folder, made if it is not there.
            url: DatabaseUrl::from("sqlite:presence.db?mode=rwc".to_owned()),
            acquire_timeout: PositiveTime::from_secs(5),
            statement_timeout: PositiveTime::from_secs(10),
            max_users: 100_000,
            remembered: Time::from_secs(30),
        }
    }
}

impl DatabaseSettings {
    /// How to use it.
    pub fn limits(&self) -> Limits {
        Limits {
            max_users: self.max_users,
            acquire_timeout: self.acquire_timeout.get(),
            statement_timeout: self.statement_timeout.get(),
            last_known: self.remembered.get(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        DatabaseSettings::default().limits()
    }
}

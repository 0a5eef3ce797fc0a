//! What every server can be told: [`ServiceSettings`].

mod admin;
mod limits;
mod listener;
mod log;
mod section;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Faults, Time};
use crate::server::Server;
pub use admin::{AdminAddress, AdminSettings};
pub use limits::LimitSettings;
pub use listener::{ListenAddress, ListenerSettings};
pub use log::{LogDestination, LogFormat, LogSettings};
pub use section::{Empty, Section};

/// What every server can be told, whatever it does.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Where to listen: addresses such as 127.0.0.1:8008 or unix:/run/presence.sock, port 0 for a free one.
    pub listeners: Vec<ListenerSettings>,
    /// What clients may take.
    pub limits: LimitSettings,
    /// What is logged, and where.
    pub log: LogSettings,
    /// Where the server tells of itself.
    pub admin: AdminSettings,
    /// How it ends.
    pub shutdown: ShutdownSettings,
    /// How it runs.
    pub runtime: RuntimeSettings,
    /// A file for the server's process id, locked as long as it runs.
    pub pid_file: Option<PathBuf>,
}

impl ServiceSettings {
    /// What this server does if nobody says anything.
    ///
    /// # Panics
    /// If [`Server::LISTEN`] or [`Server::ADMIN`] is no address.
    pub fn of<S: Server>() -> Self {
        Self::default().or_of::<S>()
    }

    /// Where nothing is said, what this server does.
    pub(crate) fn or_of<S: Server>(mut self) -> Self {
        if self.listeners.is_empty() {
            self.listeners.push(S::LISTEN.parse().expect("Server::LISTEN is an address"));
        }
        let admin = || S::ADMIN.parse().expect("Server::ADMIN is an address or off");
        self.admin.address.get_or_insert_with(admin);
        self
    }
}

impl Section for ServiceSettings {
    fn check(&self, faults: &mut Faults) {
        if let Some(address) = self.admin.exposed() {
            faults.add(
                "admin.token",
                format!("a token, as other machines can reach admin.address = {address}"),
            );
        }
        for (n, listener) in self.listeners.iter().enumerate() {
            match (&listener.tls_certificate, &listener.tls_key) {
                (Some(_), None) => {
                    faults.add(format!("listeners[{n}].tls_key"), "the key of tls_certificate");
                }
                (None, Some(_)) => {
                    faults.add(format!("listeners[{n}].tls_certificate"), "the certificate of tls_key");
                }
                _ => {}
            }
        }
        if let Err(error) = logcontext_tracing::builder().filter(&self.log.filter) {
            faults.add("log.filter", error.to_string());
        }
    }
}

/// How a server ends.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ShutdownSettings {
    /// How long requests, then background work, then the database may take to end, all together.
    pub deadline: Time,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10).into() }
    }
}

/// How a server runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RuntimeSettings {
    /// How many threads poll what is asynchronous; one a processor unless told otherwise.
    pub workers: Option<std::num::NonZeroUsize>,
}

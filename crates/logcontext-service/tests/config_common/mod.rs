//! The settings of a server such as there might be, and what its sources are.
#![allow(dead_code, reason = "each test binary uses some")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use logcontext_service::config::{
    Check, Config, DatabaseUrl, Faults, PositiveTime, Schema, Secret, Size, Sources, TextOr, Time,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

pub(crate) fn schema() -> Schema {
    Schema::new("presence")
        .checked_section::<Service>("")
        .section::<Database>("database")
        .checked_section::<Admin>("admin")
        .section::<Presence>("presence")
        .alias("listen", "listeners")
        .alias("log", "log.format")
        .alias("database", "database.url")
        .ignore_variable("PRESENCE_TEST_*")
        .ignore_variable("PRESENCE_HOME")
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Service {
    /// Its name.
    pub(crate) name: String,
    /// How many threads work.
    pub(crate) workers: u16,
    /// Whether to say more.
    ///
    /// Really.
    pub(crate) verbose: bool,
    /// How much is sampled.
    pub(crate) ratio: f64,
    /// How long requests may take to end.
    pub(crate) shutdown_deadline: Time,
    /// What is said of it to others.
    pub(crate) labels: BTreeMap<String, String>,
    /// Numbers of users who may do more.
    pub(crate) admins: Vec<i64>,
    /// The log.
    pub(crate) log: Log,
    /// What is too much.
    pub(crate) limits: Limits,
    /// Where to listen.
    pub(crate) listeners: Vec<Listener>,
    /// TLS for all.
    pub(crate) tls: Option<Tls>,
    /// Who is told.
    pub(crate) hooks: Vec<Hook>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            name: "presence".to_owned(),
            workers: 4,
            verbose: false,
            ratio: 0.5,
            shutdown_deadline: Time::from_secs(10),
            labels: BTreeMap::new(),
            admins: Vec::new(),
            log: Log::default(),
            limits: Limits::default(),
            listeners: vec![Listener::from(TextOr::Text("127.0.0.1:8008".parse().expect("an address")))],
            tls: None,
            hooks: Vec::new(),
        }
    }
}

impl Check for Service {
    fn check(&self, faults: &mut Faults) {
        for (index, listener) in self.listeners.iter().enumerate() {
            if listener.tls_certificate.is_some() && listener.tls_key.is_none() {
                faults.add(format!("listeners[{index}].tls_key"), "a file with the key of tls_certificate");
            }
        }
        if self.workers > 64 {
            faults.add("workers", "no more than 64");
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// How lines look.
    pub(crate) format: Format,
    /// Which lines there are.
    pub(crate) filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".to_owned() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// The largest body.
    pub(crate) body_size: Size,
    /// The most connections, if there is a most.
    pub(crate) connections: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_size: Size::from_bytes(1 << 20), connections: None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "TextOr<SocketAddr, ListenerTable>")]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) name: Option<String>,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTable {
    address: SocketAddr,
    name: Option<String>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
}

impl From<TextOr<SocketAddr, ListenerTable>> for Listener {
    fn from(given: TextOr<SocketAddr, ListenerTable>) -> Self {
        match given {
            TextOr::Text(address) => Self { address, name: None, tls_certificate: None, tls_key: None },
            TextOr::Table(ListenerTable { address, name, tls_certificate, tls_key }) => {
                Self { address, name, tls_certificate, tls_key }
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// The file with the certificate.
    pub(crate) certificate: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hook {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) token: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    /// Where it is.
    pub(crate) url: DatabaseUrl,
    /// Passwords of replicas.
    pub(crate) passwords: BTreeMap<String, Secret>,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: "sqlite:presence.db".to_owned().into(), passwords: BTreeMap::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What who asks has to know.
    pub(crate) token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: "127.0.0.1:9008".parse().expect("an address"), token: None }
    }
}

impl Check for Admin {
    fn check(&self, faults: &mut Faults) {
        if !self.address.ip().is_loopback() && self.token.is_none() {
            faults.add("token", format!("a token, for admin.address is {}", self.address));
        }
        // Somebody says more than is good.
        if let Some(token) = self.token.as_ref().filter(|token| token.expose().starts_with("weak")) {
            faults.add("token", format!("a better one than {}", token.expose()));
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Presence {
    /// Who does nothing for so long becomes offline.
    pub(crate) offline_timeout: PositiveTime,
}

impl Default for Presence {
    fn default() -> Self {
        Self { offline_timeout: PositiveTime::from_secs(300) }
    }
}

/// A folder for files, and what is said of them without its name.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).expect("a file");
        self.path(name)
    }

    /// The text with names of files in the folder alone.
    pub(crate) fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// The configuration of that file.
pub(crate) fn load(text: &str) -> Config {
    let folder = Folder::new();
    let path = folder.write("presence.toml", text);
    schema().load(&Sources::default().file(path)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What is wrong with that file, and whatever else is given.
pub(crate) fn mistakes_with(text: &str, sources: Sources) -> String {
    let folder = Folder::new();
    let path = folder.write("presence.toml", text);
    match schema().load(&sources.file(path)) {
        Ok(config) => panic!("no mistake in\n{config}"),
        Err(errors) => folder.short(&errors.to_string()),
    }
}

pub(crate) fn mistakes(text: &str) -> String {
    mistakes_with(text, Sources::default())
}

/// All sections.
pub(crate) fn all(config: &Config) -> (Service, Database, Admin, Presence) {
    let section = "a section of its type";
    (
        config.get("").expect(section),
        config.get("database").expect(section),
        config.get("admin").expect(section),
        config.get("presence").expect(section),
    )
}

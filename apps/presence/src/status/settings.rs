//! The section `presence.status`.

use logcontext_service::config::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProcessAddress;

/// Which processes `presence status` asks.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatusSettings {
    /// Where the admin listeners of all processes are: addresses such as 127.0.0.1:9009, api-1:9009 or
    /// unix:/run/admin.sock.
    pub processes: Vec<ProcessAddress>,
    /// What they ask for; admin.token unless said here.
    pub token: Option<Secret>,
}

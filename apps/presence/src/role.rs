//! [`Role`]: what a process does of all that the service does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a process does of all that the service does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// All of it.
    #[default]
    All,
    /// What users ask for; and what other hubs send.
    Api,
    /// What other hubs are told.
    Sender,
}

impl Role {
    /// As settings call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Sender => "sender",
        }
    }

    /// Does it answer users and other hubs?
    pub fn answers(self) -> bool {
        self != Self::Sender
    }

    /// Does it look after what changed?
    pub fn sends(self) -> bool {
        self != Self::Api
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_called_the_same_everywhere_and_somebody_does_everything() {
        for role in [Role::All, Role::Api, Role::Sender] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert!(role.answers() || role.sends());
        }
    }
}

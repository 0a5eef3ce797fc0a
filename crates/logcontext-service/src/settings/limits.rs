//! What clients may take.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{PositiveTime, Size};

/// What clients may take, of each listener.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitSettings {
    /// How long a client may take for the head of a request, and between two requests.
    pub header_time: PositiveTime,
    /// How many bytes the body of a request may have.
    pub body_size: Size,
    /// How long a client may take for the body of a request.
    pub body_time: PositiveTime,
    /// How many connections may be open on a listener; others wait.
    pub connections: Option<NonZeroUsize>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            header_time: PositiveTime::from_secs(10),
            body_size: Size::from_bytes(1024 * 1024),
            body_time: PositiveTime::from_secs(30),
            connections: None,
        }
    }
}

//! What is said.

use logcontext_bus::{Event, Rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Comes back.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Echo {
    pub(super) text: String,
}

/// Has happened.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Happened {
    pub(super) text: String,
}

impl Rpc for Echo {
    const NAME: &'static str = "bench.echo";
    type Response = Echo;
    type Error = String;
}

impl Event for Happened {
    const NAME: &'static str = "bench.happened";
}

/// 32 bytes.
const TEXT: &str = "0123456789abcdef0123456789abcdef";

impl Echo {
    pub(super) fn new() -> Self {
        Self { text: TEXT.to_owned() }
    }
}

impl Happened {
    pub(super) fn new() -> Self {
        Self { text: TEXT.to_owned() }
    }
}

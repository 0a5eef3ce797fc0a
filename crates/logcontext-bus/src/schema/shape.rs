//! The schemas of a service's messages, for people and other services to read.

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value, json};

use crate::event::Event;
use crate::rpc::Rpc;

/// The schemas of a service's messages: what `bus schema dump` prints.
///
/// ```
/// use logcontext_bus::{Event, Rpc, SchemaSet};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct PresenceChanged { user: String }
/// impl Event for PresenceChanged { const NAME: &str = "presence.changed"; }
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct GetPresence { user: String }
/// impl Rpc for GetPresence {
///     const NAME: &str = "presence.get";
///     type Response = bool;
///     type Error = String;
/// }
///
/// let schemas = SchemaSet::new().event::<PresenceChanged>().rpc::<GetPresence>().to_json();
/// assert_eq!(schemas["events"]["presence.changed"]["version"], 1);
/// assert_eq!(schemas["rpcs"]["presence.get"]["response"]["type"], "boolean");
/// ```
#[derive(Clone, Debug, Default)]
pub struct SchemaSet {
    events: Map<String, Value>,
    rpcs: Map<String, Value>,
}

impl SchemaSet {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this event.
    #[must_use]
    pub fn event<E: Event>(mut self) -> Self {
        self.events.insert(E::NAME.to_owned(), of_event::<E>());
        self
    }

    /// With this call.
    #[must_use]
    pub fn rpc<R: Rpc>(mut self) -> Self {
        self.rpcs.insert(R::NAME.to_owned(), of_rpc::<R>());
        self
    }

    /// All of them: `{"events": {name: ..}, "rpcs": {name: ..}}`, by name.
    pub fn to_json(&self) -> Value {
        json!({ "events": self.events, "rpcs": self.rpcs })
    }
}

/// The JSON Schema of a type.
pub(crate) fn of<T: JsonSchema>() -> Schema {
    schema_for!(T)
}

/// What is shown of an event.
pub(crate) fn of_event<E: Event>() -> Value {
    json!({
        "version": E::VERSION,
        "partitions": E::PARTITIONS,
        "event": of::<E>(),
    })
}

/// What is shown of a call.
pub(crate) fn of_rpc<R: Rpc>() -> Value {
    json!({
        "version": R::VERSION,
        "request": of::<R>(),
        "response": of::<R::Response>(),
        "error": of::<R::Error>(),
    })
}

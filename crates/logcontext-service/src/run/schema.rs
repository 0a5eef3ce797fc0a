//! The keys of a server's configuration, and what becomes of their values.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{Check, Config, Faults, Schema};
use crate::server::{BoxError, Datastore, Server};
use crate::service::Settings;
use crate::settings::{Section, ServiceSettings};

/// All keys: those of every server at the top, those of its datastore and its own in sections.
pub(super) fn of<S: Server>() -> Schema {
    let schema = Schema::new(S::NAME)
        .checked_section::<OfServer<S>>("")
        .checked_section::<<S::Datastore as Datastore>::Settings>("database")
        .checked_section::<S::Settings>(S::NAME)
        .alias("listen", "listeners")
        .alias("log", "log.format");
    S::ALIASES.iter().fold(schema, |schema, (name, key)| schema.alias(name, key))
}

/// # Errors
/// If a section cannot be read after all.
pub(super) fn settings<S: Server>(config: &Config) -> Result<Settings<S>, BoxError> {
    Ok(Settings {
        service: config.get::<OfServer<S>>("")?.0,
        database: config.get("database")?,
        server: config.get(S::NAME)?,
    })
}

/// [`ServiceSettings`] with the defaults of this server.
struct OfServer<S>(ServiceSettings, PhantomData<fn() -> S>);

impl<S: Server> Default for OfServer<S> {
    fn default() -> Self {
        Self(ServiceSettings::of::<S>(), PhantomData)
    }
}

impl<'de, S: Server> Deserialize<'de> for OfServer<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ServiceSettings::deserialize(deserializer).map(|settings| Self(settings.or_of::<S>(), PhantomData))
    }
}

impl<S> Serialize for OfServer<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        self.0.serialize(serializer)
    }
}

impl<S> JsonSchema for OfServer<S> {
    fn schema_name() -> Cow<'static, str> {
        ServiceSettings::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        ServiceSettings::json_schema(generator)
    }
}

impl<S: Server> Check for OfServer<S> {
    fn check(&self, faults: &mut Faults) {
        Section::check(&self.0, faults);
    }
}

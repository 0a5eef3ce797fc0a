//! [`Schema`]: the keys that a server has.

use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Check;
use super::keys::{self, Key};
use super::section::Section;
use super::shape::{Shape, VALUE_NAME};

/// The keys that a server has: sections, each read by a type of its own.
///
/// The types are plain serde types with `JsonSchema`: doc comments become help texts, `Default` gives the defaults.
/// They should be `#[serde(default, deny_unknown_fields)]`; [`check`](Self::check) says where that was forgotten.
///
/// ```
/// use logcontext_service::config::{Origin, PositiveTime, Schema, Sources};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(default, deny_unknown_fields)]
/// struct PresenceSettings {
///     /// Who does nothing for so long becomes offline.
///     offline_timeout: PositiveTime,
/// }
///
/// impl Default for PresenceSettings {
///     fn default() -> Self {
///         Self { offline_timeout: PositiveTime::from_secs(300) }
///     }
/// }
///
/// let schema = Schema::new("presence").section::<PresenceSettings>("presence");
/// schema.check()?;
///
/// let sources = Sources::default().variable("PRESENCE_PRESENCE_OFFLINE_TIMEOUT", "1m");
/// let config = schema.load(&sources)?;
/// let own: PresenceSettings = config.get("presence")?;
/// assert_eq!(own.offline_timeout.get().as_secs(), 60);
/// assert_eq!(config.show(), "[presence]\noffline_timeout = \"1m\"  # PRESENCE_PRESENCE_OFFLINE_TIMEOUT\n");
///
/// let mistake = schema.load(&Sources::default().flag("presence-offline-timeout", "soon")).unwrap_err();
/// assert_eq!(
///     mistake.to_string(),
///     "--presence-offline-timeout: presence.offline_timeout: \
///      expected a time of more than nothing such as 30s or 5m, found \"soon\"",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "HomeServerConfig")]
#[derive(Clone)]
pub struct Schema {
    /// `PRESENCE_`.
    prefix: String,
    generator: SchemaGenerator,
    /// Of all sections together.
    root: Value,
    /// Of the name of a file with a secret.
    file: Value,
    sections: Vec<Section>,
    aliases: Vec<(String, String)>,
    ignored: Vec<String>,
}

impl Schema {
    /// No keys yet. The names of variables begin with the name of the server: `PRESENCE_` for `presence`.
    pub fn new(name: &str) -> Self {
        let generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        Self {
            prefix: keys::variable("", name) + "_",
            generator: generator.into_generator(),
            root: json!({ "type": "object", "properties": {}, "additionalProperties": false }),
            file: json!({ "type": "string", VALUE_NAME: "FILE" }),
            sections: Vec::new(),
            aliases: Vec::new(),
            ignored: Vec::new(),
        }
    }

    /// Adds the table `key`, which `T` reads. An empty key means the top level: the fields of `T` are keys and tables
    /// beside the other sections.
    #[must_use]
    pub fn section<T>(self, key: &str) -> Self
    where
        T: Serialize + DeserializeOwned + JsonSchema + Default,
    {
        self.add::<T>(Section::new::<T>(key))
    }

    /// Adds a section whose values must hold more than their types say.
    #[must_use]
    pub fn checked_section<T>(self, key: &str) -> Self
    where
        T: Serialize + DeserializeOwned + JsonSchema + Default + Check,
    {
        self.add::<T>(Section::checked::<T>(key))
    }

    fn add<T: JsonSchema>(mut self, section: Section) -> Self {
        let schema = self.generator.subschema_for::<T>().to_value();
        let own = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        if section.key.is_empty() {
            self.root["additionalProperties"] =
                schema.get("additionalProperties").cloned().unwrap_or_default();
        }
        if let Some(properties) = self.root["properties"].as_object_mut() {
            if section.key.is_empty() {
                properties.extend(own);
            } else {
                properties.insert(section.key.clone(), schema);
            }
        }
        self.root["$defs"] = Value::Object(self.generator.definitions().clone());
        self.sections.push(section);
        self
    }

    /// Gives the key a short form: `alias("listen", "listeners")` makes `--listen` and `PRESENCE_LISTEN`. A secret's
    /// gets one for its file too: `--token-file`.
    #[must_use]
    pub fn alias(mut self, name: &str, key: &str) -> Self {
        self.aliases.push((name.to_owned(), key.to_owned()));
        self
    }

    /// The variable begins like those of the server but is of somebody else. With `*` at the end: all that begin so.
    #[must_use]
    pub fn ignore_variable(mut self, name: &str) -> Self {
        self.ignored.push(name.to_owned());
        self
    }

    pub(super) fn keys(&self) -> Vec<Key<'_>> {
        keys::of(self.shape(), Shape::of(&self.file), &self.prefix, &self.aliases)
    }

    pub(super) fn shape(&self) -> Shape<'_> {
        Shape::of(&self.root)
    }

    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    pub(super) fn sections(&self) -> &[Section] {
        &self.sections
    }

    pub(super) fn aliases(&self) -> &[(String, String)] {
        &self.aliases
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The variable with the name of the file.
    pub(super) fn config_variable(&self) -> String {
        keys::variable(&self.prefix, "config")
    }

    pub(super) fn ignores(&self, variable: &str) -> bool {
        self.ignored.iter().any(|ignored| match ignored.strip_suffix('*') {
            Some(start) => variable.starts_with(start),
            None => variable == ignored,
        })
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections: Vec<_> = self.sections.iter().map(|section| &section.key).collect();
        f.debug_struct("Schema")
            .field("prefix", &self.prefix)
            .field("sections", &sections)
            .finish_non_exhaustive()
    }
}

//! [`TextOr`]: a short form, or a table with all of it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Text as a short form, or a table with all of it: `"127.0.0.1:8008"`, or `{ address = "127.0.0.1:8008", .. }`.
///
/// Unlike with serde's untagged enums, mistakes in either are told as they are, with their key. As the `from` of the
/// type proper:
///
/// ```
/// use logcontext_service::config::TextOr;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use std::net::SocketAddr;
///
/// #[derive(Debug, PartialEq, Clone, Serialize, Deserialize, JsonSchema)]
/// #[serde(from = "TextOr<SocketAddr, Table>")]
/// struct Listener {
///     address: SocketAddr,
///     name: String,
/// }
///
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Table {
///     address: SocketAddr,
///     name: String,
/// }
///
/// impl From<TextOr<SocketAddr, Table>> for Listener {
///     fn from(given: TextOr<SocketAddr, Table>) -> Self {
///         match given {
///             TextOr::Text(address) => Self { address, name: "http".to_owned() },
///             TextOr::Table(Table { address, name }) => Self { address, name },
///         }
///     }
/// }
///
/// let short: Listener = serde_json::from_str(r#""127.0.0.1:8008""#)?;
/// let long: Listener = serde_json::from_str(r#"{"address": "127.0.0.1:8008", "name": "http"}"#)?;
/// assert_eq!(short, long);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[doc(alias = "untagged")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TextOr<X, T> {
    /// The short form.
    Text(X),
    /// All of it.
    Table(T),
}

impl<'de, X: Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for TextOr<X, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

struct Either<X, T>(PhantomData<(X, T)>);

impl<'de, X: Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for Either<X, T> {
    type Value = TextOr<X, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        X::deserialize(StrDeserializer::new(text)).map(TextOr::Text)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
    }
}

impl<X: JsonSchema, T: JsonSchema> JsonSchema for TextOr<X, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", X::schema_name(), T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<X>(), generator.subschema_for::<T>()] })
    }
}

//! [`Rpc`]: something that can be asked for.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Something that can be asked for. The type itself is the request.
///
/// ```
/// use logcontext_bus::Rpc;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct GetPresence {
///     user: String,
/// }
///
/// impl Rpc for GetPresence {
///     const NAME: &str = "presence.get";
///     type Response = bool;
///     type Error = String;
/// }
/// assert_eq!(GetPresence::VERSION, 1);
/// ```
pub trait Rpc: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Its name: 1 to 100 of `A-Z a-z 0-9 . _ -`.
    const NAME: &'static str;

    /// The version of its shapes. Who serves it refuses other versions than its own.
    const VERSION: u32 = 1;

    /// What it is answered with.
    type Response: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// What the handler says instead, if it cannot answer. The caller gets it as it is: nothing internal belongs in it.
    type Error: Serialize + DeserializeOwned + JsonSchema + Display + Send + Sync + 'static;
}

//! [`BusUrl`]: where a bus's broker is; and how to say so without the password in it.

use std::fmt;
use std::str::FromStr;

use super::TextError;
use super::database_url::DatabaseUrl;
use super::typed_text::typed_text;

/// Where the broker of a bus is: `memory:` is the process itself, `redis://user:password@host:port/` or
/// `nats://user:password@host:port` a server. What it shows of itself, to people and to files, has no password.
///
/// ```
/// use logcontext_service::config::BusUrl;
///
/// let url: BusUrl = "redis://:hunter2@broker:6379/".parse()?;
/// assert_eq!(url.to_string(), "redis://:***@broker:6379/");
/// assert_eq!(url.with_password(), "redis://:hunter2@broker:6379/");
/// let url: BusUrl = "nats://t0ken@broker:4222".parse()?;
/// assert_eq!(url.to_string(), "nats://***@broker:4222");
/// assert!("broker".parse::<BusUrl>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BusUrl(DatabaseUrl);

impl BusUrl {
    const EXPECTED: &str =
        "the URL of a broker: memory:, or one such as redis://host:6379/ or nats://host:4222";

    /// The process itself.
    pub fn memory() -> Self {
        Self(DatabaseUrl::from("memory:".to_owned()))
    }

    /// The whole of it, for whoever connects.
    pub fn with_password(&self) -> &str {
        self.0.with_password()
    }
}

/// Takes any text with a scheme, as in `scheme:rest`.
impl FromStr for BusUrl {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        text.parse().map(Self).map_err(|_| TextError(Self::EXPECTED))
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusUrl({self})")
    }
}

typed_text!(BusUrl, "BusUrl", { "type": "string", "x-hide": "password", "x-value-name": "URL" });

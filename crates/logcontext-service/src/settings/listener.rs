//! A listener: an address, or more than that.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{TextError, TextOr, typed_text};

/// A listener: where, what it is called, and how it speaks. An address alone will do.
///
/// ```
/// use logcontext_service::ListenerSettings;
///
/// let listener: ListenerSettings = "unix:/run/presence.sock".parse()?;
/// assert_eq!((listener.name(), &listener.tls_certificate), ("unix", &None));
/// # Ok::<(), logcontext_service::config::TextError>(())
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(from = "TextOr<ListenAddress, Table>")]
#[non_exhaustive]
pub struct ListenerSettings {
    /// Where it listens.
    pub address: ListenAddress,
    /// What its connections are totalled by: `http`, `https` or `unix` unless told otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A PEM file with the certificate and those that it stands on: then it speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
}

impl ListenerSettings {
    /// One that listens there.
    pub fn new(address: ListenAddress) -> Self {
        Self { address, name: None, tls_certificate: None, tls_key: None }
    }

    /// What its connections are totalled by.
    pub fn name(&self) -> &str {
        match (&self.name, &self.address) {
            (Some(name), _) => name,
            (None, _) if self.tls_certificate.is_some() => "https",
            (None, ListenAddress::Tcp(_)) => "http",
            (None, ListenAddress::Unix(_)) => "unix",
        }
    }
}

impl FromStr for ListenerSettings {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        text.parse().map(Self::new)
    }
}

/// As a table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Where it listens.
    address: ListenAddress,
    /// What its connections are totalled by: `http`, `https` or `unix` unless told otherwise.
    name: Option<String>,
    /// A PEM file with the certificate and those that it stands on: then it speaks TLS.
    tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    tls_key: Option<PathBuf>,
}

impl From<TextOr<ListenAddress, Table>> for ListenerSettings {
    fn from(given: TextOr<ListenAddress, Table>) -> Self {
        match given {
            TextOr::Text(address) => Self::new(address),
            TextOr::Table(Table { address, name, tls_certificate, tls_key }) => {
                Self { address, name, tls_certificate, tls_key }
            }
        }
    }
}

/// An address to listen on: of this machine, or a file.
///
/// ```
/// use logcontext_service::ListenAddress;
///
/// let address: ListenAddress = "[::1]:8008".parse()?;
/// assert!(address.is_of_this_machine_only());
/// let error = "8008".parse::<ListenAddress>().unwrap_err();
/// assert!(error.to_string().contains("127.0.0.1:8008"));
/// # Ok::<(), logcontext_service::config::TextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Port 0 is any that is free.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

const UNIX: &str = "unix:";

impl ListenAddress {
    const EXPECTED: &str = "an address such as 127.0.0.1:8008, [::1]:8008 or unix:/run/server.sock";

    /// Can nobody on another machine reach it?
    pub fn is_of_this_machine_only(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for ListenAddress {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text.strip_prefix(UNIX) {
            Some("") => Err(TextError(Self::EXPECTED)),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| TextError(Self::EXPECTED)),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

typed_text!(ListenAddress, "ListenAddress", { "type": "string", "x-value-name": "ADDRESS" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for text in ["127.0.0.1:8008", "[::1]:0", "0.0.0.0:80", "unix:/run/x.sock", "unix:x.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "here", "localhost:80", "127.0.0.1", ":80", "127.0.0.1:65536", "unix:", "::1:80"] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains("expected an address such as"), "{error}");
        }
    }

    #[test]
    fn addresses_know_whether_others_reach_them() {
        let only_here = |text: &str| text.parse::<ListenAddress>().unwrap().is_of_this_machine_only();
        assert!(only_here("127.0.0.1:1") && only_here("127.8.8.8:1") && only_here("[::1]:1"));
        assert!(only_here("[::ffff:127.0.0.1]:1") && only_here("unix:x"));
        assert!(!only_here("0.0.0.0:1") && !only_here("[::]:1") && !only_here("192.0.2.1:1"));
    }
}

//! [`ProcessAddress`]: where a process tells of itself.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a process's admin listener is, as others reach it: by a name or a number, or by a socket's file.
///
/// ```
/// use presence::status::ProcessAddress;
///
/// let address: ProcessAddress = "api-1:9009".parse()?;
/// assert_eq!(address.to_string(), "api-1:9009");
/// let error = "http://api-1:9009/".parse::<ProcessAddress>().unwrap_err();
/// assert!(error.contains("expected an address such as"));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ProcessAddress {
    /// A host, in brackets if it is an IPv6 address, and a port.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

const UNIX: &str = "unix:";
const EXPECTED: &str =
    "expected an address such as 127.0.0.1:9009, [::1]:9009, api-1:9009 or unix:/run/admin.sock";
/// What a name of a host can have at most, and a port.
const LONGEST: usize = 255 + 6;

impl FromStr for ProcessAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some(path) if !path.is_empty() && !path.contains('\0') => Ok(Self::Unix(path.into())),
            None if text.len() <= LONGEST && is_host_and_port(text) => Ok(Self::Tcp(text.to_owned())),
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = is_number && port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(number) => number.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_part_of_name =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(is_part_of_name)
        }
    };
    is_host && is_port
}

impl fmt::Display for ProcessAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Serialize for ProcessAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProcessAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ProcessAddress {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProcessAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-value-name": "ADDRESS" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for text in ["127.0.0.1:9009", "[::1]:9009", "api-1:9009", "a.b_c:1", "unix:/run/x.sock", "unix:x"] {
            assert_eq!(text.parse::<ProcessAddress>().unwrap().to_string(), text);
        }
        let long = format!("{}:1", "a".repeat(300));
        for text in [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "::1:80",
            "[host]:80",
            "unix:",
            "a b:1",
            "a@b:1",
            "http://host:1",
            "host:1/",
            "h\r\nx:1",
            &long,
        ] {
            assert_eq!(text.parse::<ProcessAddress>().unwrap_err(), EXPECTED, "{text:?}");
        }
    }
}

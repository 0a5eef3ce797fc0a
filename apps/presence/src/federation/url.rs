//! [`HubUrl`]: where a hub is.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a hub is: `http://host:port`, and nothing after it.
///
/// ```
/// use presence::federation::HubUrl;
///
/// let url: HubUrl = "http://127.0.0.1:8009".parse().unwrap();
/// assert_eq!(url.to_string(), "http://127.0.0.1:8009");
/// assert_eq!((url.host(), url.port()), ("127.0.0.1", 8009));
/// let refused = "https://two.example".parse::<HubUrl>().unwrap_err();
/// assert!(refused.contains("no TLS client"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("x-value-name" = "URL"))]
pub struct HubUrl {
    host: String,
    port: u16,
}

const EXPECTED: &str = "expected the URL of a hub such as http://127.0.0.1:8009";

impl HubUrl {
    /// Its name or address, an IPv6 one without its brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Its port: 80 if there is none in the URL.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As the header `host` has it.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for HubUrl {
    type Err = String;

    /// Says what was expected, and nothing of the text: somebody may have put a password into it.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("{EXPECTED}{why}"));
        let Ok(uri) = text.parse::<Uri>() else { return refuse("") };
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return refuse(": there is no TLS client here, put a proxy in between"),
            _ => return refuse(""),
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            return refuse(": no user and no password in it, the secret has a key of its own");
        };
        if authority.host().is_empty() || uri.path() != "/" || uri.query().is_some() {
            return refuse(": a host, a port, and nothing after them");
        }
        let port = authority.as_str().strip_prefix(authority.host());
        let port = match port.map(|port| port.strip_prefix(':').map(str::parse)) {
            Some(None) => 80,
            Some(Some(Ok(port))) if port > 0 => port,
            _ => return refuse(": a port from 1 to 65535"),
        };
        Ok(Self { host: authority.host().to_owned(), port })
    }
}

impl TryFrom<String> for HubUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HubUrl> for String {
    fn from(url: HubUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_a_host_and_a_port() {
        for (text, host, port) in
            [("http://two:8009", "two", 8009), ("http://two/", "two", 80), ("http://[::1]:9", "::1", 9)]
        {
            let url: HubUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_hub_is_refused_without_showing_it() {
        for text in [
            "",
            "two",
            "two:8009",
            "/two",
            "ftp://two",
            "http://",
            "http://two:0",
            "http://two:x",
            "http://two:99999",
            "http://hunter2@two",
            "http://u:hunter2@two:1",
            "http://two/hunter2",
            "http://two?hunter2",
            "https://hunter2",
        ] {
            let error = text.parse::<HubUrl>().unwrap_err();
            assert!(error.starts_with(EXPECTED) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}

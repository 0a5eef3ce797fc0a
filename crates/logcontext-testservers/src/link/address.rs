//! Addresses in URLs.

use std::net::{SocketAddr, ToSocketAddrs as _};

/// Of the server that the URL names
pub(super) fn of(url: &str) -> Option<SocketAddr> {
    let (_, address, _) = split(url)?;
    address.to_socket_addrs().ok()?.next()
}

/// The URL with another address.
pub(super) fn replaced(url: &str, address: SocketAddr) -> String {
    split(url).map_or_else(|| url.to_owned(), |(before, _, after)| format!("{before}{address}{after}"))
}

/// What comes before host and port, these, and what comes after.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |end| start + end);
    let start = url[start..end].rfind('@').map_or(start, |at| start + at + 1);
    Some((&url[..start], &url[start..end], &url[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_changes() {
        let other: SocketAddr = "127.0.0.1:9".parse().unwrap();
        for (url, address, expected) in [
            ("redis://127.0.0.1:6379/", "127.0.0.1:6379", "redis://127.0.0.1:9/"),
            ("redis://me:a%40b@127.0.0.1:1", "127.0.0.1:1", "redis://me:a%40b@127.0.0.1:9"),
            ("postgres://me@127.0.0.1:2/db?x=a@b/c", "127.0.0.1:2", "postgres://me@127.0.0.1:9/db?x=a@b/c"),
        ] {
            assert_eq!(of(url), Some(address.parse().unwrap()), "{url}");
            assert_eq!(replaced(url, other), expected);
        }
    }

    #[test]
    fn a_url_without_host_and_port_has_no_address() {
        for url in ["", "127.0.0.1:1", "redis://", "redis://127.0.0.1/", "redis:///1"] {
            assert_eq!(of(url), None, "{url}");
        }
    }
}

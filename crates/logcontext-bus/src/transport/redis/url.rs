//! Where the broker is.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

use crate::error::ConnectError;

/// # Errors
/// If it is no URL of a Redis that can be reached by TCP. The URL is not shown: it may have a password.
pub(super) fn parse(url: &str) -> Result<ConnectionInfo, ConnectError> {
    let expected = "expected redis://host:port/db, with user:password@ before the host where it is needed";
    let wrong = |what: &str| ConnectError::Url(format!("{what}: {expected}"));
    if !url.starts_with("redis://") {
        return Err(wrong("the URL of the broker does not begin with redis://"));
    }
    let info = url.into_connection_info().map_err(|_| wrong("the URL of the broker cannot be read"))?;
    match info.addr() {
        ConnectionAddr::Tcp(host, _) if !host.is_empty() => Ok(info),
        _ => Err(wrong("the URL of the broker names no host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_user_and_database_are_read() {
        let info = parse("redis://me:secret@db.example:7000/3").unwrap();
        assert_eq!(info.addr(), &ConnectionAddr::Tcp("db.example".to_owned(), 7000));
        let settings = info.redis_settings();
        assert_eq!(
            (settings.username(), settings.password(), settings.db()),
            (Some("me"), Some("secret"), 3)
        );
        let info = parse("redis://127.0.0.1").unwrap();
        assert_eq!(info.addr(), &ConnectionAddr::Tcp("127.0.0.1".to_owned(), 6379));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "",
            "memory:",
            "rediss://a:secret@b",
            "redis://",
            "redis://a:secret@:b/",
            "redis://:secret@b/x",
            "redis+unix:///secret",
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains("redis://host:port/db") && !error.contains("secret"), "{url}: {error}");
        }
    }
}

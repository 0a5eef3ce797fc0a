//! URLs of databases.

use std::fmt::Write as _;

/// The URL of another database on the same server. What it says of the connection stays.
pub(super) fn with_database(url: &str, database: &str) -> String {
    let (rest, parameters) = url.split_once('?').map_or((url, None), |(rest, after)| (rest, Some(after)));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("postgres", rest));
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let mut result = format!("{scheme}://{authority}/{}", encoded(database));
    if let Some(parameters) = parameters {
        result.push('?');
        result.push_str(parameters);
    }
    result
}

fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_changes() {
        for (url, expected) in [
            ("postgres://me@127.0.0.1:5432/postgres", "postgres://me@127.0.0.1:5432/a"),
            ("postgres://me@127.0.0.1:5432", "postgres://me@127.0.0.1:5432/a"),
            ("postgresql://me:p%2Fw@db/", "postgresql://me:p%2Fw@db/a"),
            ("postgres://db/old?sslmode=disable", "postgres://db/a?sslmode=disable"),
            ("postgres://db?host=/run/pg", "postgres://db/a?host=/run/pg"),
        ] {
            assert_eq!(with_database(url, "a"), expected, "{url}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        assert_eq!(with_database("postgres://db/x", "a/b?c d\u{e4}"), "postgres://db/a%2Fb%3Fc%20d%C3%A4");
    }
}

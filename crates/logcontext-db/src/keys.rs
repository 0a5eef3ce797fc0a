//! The parameters of an address, `?key=value&..`: checked here, for the driver of PostgreSQL logs those that it does
//! not know with their values, and what somebody has meant to write may be a password.

use std::borrow::Cow;

use crate::{Backend, Error};

const SQLITE: [&str; 4] = ["mode", "cache", "immutable", "vfs"];

const POSTGRES: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// What looks like parameters is the rest of a password where that has a `?` in it.
pub(crate) fn may_hold_password(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, rest)| rest.contains('@'))
}

/// Refuses a parameter that the driver does not know.
pub(crate) fn check(url: &str, backend: Backend) -> Result<(), Error> {
    for (key, _) in parameters(url, backend) {
        if !is_known(&key, backend) {
            let key = (is_name(&key) && !may_hold_password(url)).then(|| key.into_owned());
            return Err(Error::UnknownParameter { backend, key });
        }
    }
    Ok(())
}

/// All of them, as the drivers read them.
pub(crate) fn parameters(url: &str, backend: Backend) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let rest = url.split_once('?').map_or("", |(_, rest)| rest);
    let query = match backend {
        Backend::Sqlite => rest,
        Backend::Postgres => rest.split('#').next().unwrap_or_default(),
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

/// For people.
pub(crate) fn known(backend: Backend) -> String {
    match backend {
        Backend::Sqlite => SQLITE.join(", "),
        Backend::Postgres => format!("{}, options[..]", POSTGRES.join(", ")),
    }
}

fn is_known(key: &str, backend: Backend) -> bool {
    match backend {
        Backend::Sqlite => SQLITE.contains(&key),
        Backend::Postgres => POSTGRES.contains(&key) || (key.starts_with("options[") && key.ends_with(']')),
    }
}

/// Letters, digits and little else, and not many of them.
fn is_name(key: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
    (1..=40).contains(&key.len()) && key.chars().all(is_part)
}

/// `%41` is an `A`, and `+` is a space.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| *first == b'%').and_then(hex);
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

fn hex(digits: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of what is refused, if it is told.
    #[track_caller]
    fn refused(url: &str, backend: Backend) -> Option<String> {
        match check(url, backend) {
            Err(Error::UnknownParameter { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_drivers_know_is_taken() {
        for key in POSTGRES {
            check(&format!("postgres://h/d?{key}=1"), Backend::Postgres).unwrap();
        }
        for key in SQLITE {
            check(&format!("sqlite:f?mode=rwc&{key}=1"), Backend::Sqlite).unwrap();
        }
        for url in [
            "postgres://h/d",
            "postgres://h/d?",
            "postgres://h/d?host=a&&port=1",
            "postgres://h/d?options[work_mem]=1",
            "postgres://h/d?options%5Bwork_mem%5D=1",
            "postgres://h/d?%70assword=1%",
            "postgres://h/d?user=a#?b=c",
        ] {
            check(url, Backend::Postgres).unwrap();
        }
    }

    /// The drivers may come to know others, or forget some.
    #[cfg(feature = "postgres")]
    #[test]
    fn the_driver_knows_no_others() {
        let test = logcontext::testing::start();
        let parsed = |key: &str, value: &str| {
            let url = format!("postgres://h/d?{key}={value}");
            url.parse::<sqlx::postgres::PgConnectOptions>().map(drop)
        };
        for key in POSTGRES {
            // One of these is a value of the right kind.
            let values = ["1", "::1", "require"];
            assert!(values.iter().any(|value| parsed(key, value).is_ok()), "{key}");
        }
        assert_eq!(test.records_at(tracing::Level::WARN).len(), 0);
        parsed("pasword", "1").unwrap();
        assert_eq!(test.records_at(tracing::Level::WARN).len(), 1);
    }

    #[test]
    fn what_they_do_not_know_is_refused_by_its_name() {
        for (url, key) in [
            ("postgres://h/d?pasword=s", "pasword"),
            ("postgres://h/d?sslmode=require&Password=s", "Password"),
            ("postgres://h/d?SSLMODE=require", "SSLMODE"),
            ("postgres://h/d?options[work_mem=s", "options[work_mem"),
        ] {
            assert_eq!(refused(url, Backend::Postgres).as_deref(), Some(key), "{url}");
        }
        assert_eq!(refused("sqlite:f?mod=rwc", Backend::Sqlite).as_deref(), Some("mod"));
    }

    #[test]
    fn what_may_be_a_part_of_a_password_is_not_named() {
        for url in [
            "postgres://alice:12?hunter2@h/d",
            "postgres://alice:12?hunter=2@h/d",
            "postgres://alice:12?hunter=2&b=#3@h/d",
            "postgres://h/d?hunter%20two=1",
            "postgres://h/d?hunter+2",
            "postgres://h/d?=hunter2",
            "postgres://h/d?password=a&hunter%262=b",
            "postgres://h/d?%ff=hunter2",
            "postgres://h/d?hunter2%4",
        ] {
            assert_eq!(refused(url, Backend::Postgres), None, "{url}");
        }
    }
}

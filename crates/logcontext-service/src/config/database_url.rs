//! [`DatabaseUrl`]: where the database is; and how to say so without the password in it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::TextError;
use super::secret::HIDDEN;
use super::typed_text::typed_text;

/// Where the database is: `sqlite:presence.db?mode=rwc`, or `postgres://user:password@host/database`. What it shows
/// of itself, to people and to files, has no password.
///
/// ```
/// use logcontext_service::config::DatabaseUrl;
///
/// let url: DatabaseUrl = "postgres://bob:hunter2@db/presence".parse()?;
/// assert_eq!(url.to_string(), "postgres://bob:***@db/presence");
/// assert_eq!(url.with_password(), "postgres://bob:hunter2@db/presence");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    const EXPECTED: &str =
        "the URL of a database such as sqlite:data.db?mode=rwc or postgres://user@host/database";

    /// The whole of it, for whoever connects.
    pub fn with_password(&self) -> &str {
        &self.0
    }
}

/// Takes any text: whether it means a database is found out when that is opened, by an error without the text.
impl From<String> for DatabaseUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Takes any text with a scheme, as in `scheme:rest`.
impl FromStr for DatabaseUrl {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text.split_once(':') {
            Some((scheme, _)) if is_scheme(scheme) => Ok(Self(text.to_owned())),
            _ => Err(TextError(Self::EXPECTED)),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_passwords(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

typed_text!(DatabaseUrl, "DatabaseUrl", { "type": "string", "x-hide": "password", "x-value-name": "URL" });

/// The text with `***` for what may be the password of a URL in it: between the first `:` after `://` and the last
/// `@` before the next space or quote, and all values of parameters but those that are known to be none, for what
/// somebody has mistyped may be the password. Rather too much than too little.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    if !text.contains("://") && !text.contains('?') && !text.contains(PARAMETER) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        let hidden = without_userinfo(word);
        out.push_str(&without_parameters(&hidden));
    }
    Cow::Owned(out)
}

/// The password of the URL, if it has one where it should be.
pub(super) fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (userinfo, _) = rest.rsplit_once('@')?;
    match userinfo.split_once(':') {
        Some((_, password)) => Some(password),
        None => is_token(url).then_some(userinfo),
    }
}

/// Is what such a URL has before its host a secret by itself?
fn is_token(url: &str) -> bool {
    url.starts_with("nats://")
}

const PARAMETER: &str = "password=";
/// Parameters with values that are no secrets.
const SHOWN: [&str; 11] = [
    "mode",
    "cache",
    "immutable",
    "vfs",
    "sslmode",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
];

fn is_scheme(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'))
}

fn is_end(char: char) -> bool {
    char.is_whitespace() || matches!(char, '\'' | '"' | '`')
}

fn without_userinfo(word: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = word.split_once("://") else { return Cow::Borrowed(word) };
    let Some((userinfo, host)) = rest.rsplit_once('@') else { return Cow::Borrowed(word) };
    match userinfo.split_once(':') {
        Some((user, _)) => Cow::Owned(format!("{scheme}://{user}:{HIDDEN}@{host}")),
        None if scheme.ends_with("nats") => Cow::Owned(format!("{scheme}://{HIDDEN}@{host}")),
        None => Cow::Borrowed(word),
    }
}

fn without_parameters(word: &str) -> Cow<'_, str> {
    let at = word.find('?').map(|at| at + 1).or_else(|| word.find(PARAMETER));
    let Some(at) = at else { return Cow::Borrowed(word) };
    let (before, parameters) = word.split_at(at);
    let mut out = before.to_owned();
    for parameter in parameters.split_inclusive(['&', '?']) {
        match parameter.split_once('=') {
            Some((key, value)) if !SHOWN.contains(&key) => {
                let rest = value.find(|char| matches!(char, '&' | '?') || is_end(char));
                out.push_str(key);
                out.push('=');
                out.push_str(HIDDEN);
                out.push_str(rest.map_or("", |end| &value[end..]));
            }
            _ => out.push_str(parameter),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_no_password() {
        for (url, shown) in [
            ("postgres://bob:hunter2@db/presence", "postgres://bob:***@db/presence"),
            ("postgres://bob:a@b:c/d@db:5432/presence", "postgres://bob:***@db:5432/presence"),
            (
                "postgres://bob@db/presence?password=hunter2&x=1",
                "postgres://bob@db/presence?password=***&x=***",
            ),
            (
                "postgres://bob@db/presence?sslmode=require&pasword=hunter2",
                "postgres://bob@db/presence?sslmode=require&pasword=***",
            ),
            (
                "postgres://bob@db/presence?Password=hunter2?mode=1",
                "postgres://bob@db/presence?Password=***?mode=1",
            ),
            ("password=hunter2", "password=***"),
            ("postgres://bob@db/presence", "postgres://bob@db/presence"),
            ("nats://t0ken@a:4222,b:4222", "nats://***@a:4222,b:4222"),
            ("nats://bob:hunter2@a:4222", "nats://bob:***@a:4222"),
            ("sqlite:presence.db?mode=rwc", "sqlite:presence.db?mode=rwc"),
        ] {
            assert_eq!(DatabaseUrl::from(url.to_owned()).to_string(), shown);
            assert_eq!(format!("{:?}", DatabaseUrl::from(url.to_owned())), format!("DatabaseUrl({shown})"));
        }
    }

    #[test]
    fn a_text_shows_no_password_of_any_url_in_it() {
        let text =
            "invalid value 'postgres://bob:hunter2@db/x' for '--listen'\nat postgres://eve:123456@db, really";
        let shown =
            "invalid value 'postgres://bob:***@db/x' for '--listen'\nat postgres://eve:***@db, really";
        assert_eq!(without_passwords(text), shown);
        assert_eq!(without_passwords("http://localhost: 12@13"), "http://localhost: 12@13");
    }
}

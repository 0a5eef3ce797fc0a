//! [`DatabaseUrl`]: where the database is; and how to say so without the password in it.

use std::borrow::Cow;
use std::fmt;

/// Where the database is: `sqlite:presence.db?mode=rwc`, or `postgres://user:password@host/database`. What it shows
/// of itself has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The whole of it, for whoever connects.
    pub fn with_password(&self) -> &str {
        &self.0
    }
}

/// A file in the current folder, made if it is not there.
impl Default for DatabaseUrl {
    fn default() -> Self {
        Self("sqlite:presence.db?mode=rwc".to_owned())
    }
}

/// Takes any text: whether it means a database is found out when that is opened, by an error without the text.
impl From<String> for DatabaseUrl {
    fn from(text: String) -> Self {
        Self(text)
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

/// The text with `***` for what may be the password of a URL in it: between the first `:` after `://` and the last
/// `@` before the next space or quote, or after `password=`. Rather too much than too little.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    if !text.contains("://") && !text.contains(PARAMETER) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        let hidden = without_userinfo(word);
        out.push_str(&without_parameter(&hidden));
    }
    Cow::Owned(out)
}

const PARAMETER: &str = "password=";
const HIDDEN: &str = "***";

fn is_end(char: char) -> bool {
    char.is_whitespace() || matches!(char, '\'' | '"' | '`')
}

fn without_userinfo(word: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = word.split_once("://") else { return Cow::Borrowed(word) };
    let Some((userinfo, host)) = rest.rsplit_once('@') else { return Cow::Borrowed(word) };
    match userinfo.split_once(':') {
        Some((user, _)) => Cow::Owned(format!("{scheme}://{user}:{HIDDEN}@{host}")),
        None => Cow::Borrowed(word),
    }
}

fn without_parameter(word: &str) -> Cow<'_, str> {
    let Some((before, value)) = word.split_once(PARAMETER) else { return Cow::Borrowed(word) };
    let rest = value.find(|char| char == '&' || is_end(char)).map_or("", |end| &value[end..]);
    Cow::Owned(format!("{before}{PARAMETER}{HIDDEN}{rest}"))
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
                "postgres://bob@db/presence?password=***&x=1",
            ),
            ("postgres://bob@db/presence", "postgres://bob@db/presence"),
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

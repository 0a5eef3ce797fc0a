//! What a mistake is called: the words of serde, as people say them.

use std::fmt::{Display, Formatter};

use super::Origin;
use super::database_url::without_passwords;
use super::error::Mistakes;
use super::node::{Hide, Node};
use super::text::{join, nearest, plain, short};

/// So many known keys or words are listed.
const LISTED: usize = 12;

/// Why a node is not what the type asks for.
#[derive(Debug)]
pub(super) struct ReadError {
    kind: Kind,
    at: Option<At>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// What serde calls what it expected.
    Expected(String),
    /// It is none of these words.
    Word(&'static [&'static str]),
    /// The key is none of these.
    Unknown(&'static [&'static str]),
    /// A table does not have this key.
    Missing(&'static str),
    /// The words of the type.
    Custom(String),
}

#[derive(Debug)]
struct At {
    path: String,
    origin: Origin,
    hide: Hide,
    found: Option<String>,
}

impl From<Kind> for ReadError {
    fn from(kind: Kind) -> Self {
        Self { kind, at: None }
    }
}

impl std::error::Error for ReadError {}

/// Serde wants it. Has nothing of the value.
impl Display for ReadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("not what was expected")
    }
}

impl ReadError {
    /// It is about that node, unless it is about one below.
    pub(super) fn at(mut self, node: &Node) -> Self {
        if self.at.is_none() {
            let (path, origin) = (node.path.clone(), node.origin.clone());
            self.at = Some(At { path, origin, hide: node.hide, found: node.found() });
        }
        self
    }

    /// The node that it is about.
    pub(super) fn path(&self) -> &str {
        self.at.as_ref().map_or("", |at| &at.path)
    }

    /// The key that is not there.
    pub(super) fn missing(&self) -> Option<String> {
        match self.kind {
            Kind::Missing(field) => Some(join(self.path(), field)),
            _ => None,
        }
    }

    /// Tells it. `known` are all keys that there are, `secrets` what must not be told.
    pub(super) fn tell(self, known: &[String], secrets: &[String], mistakes: &mut Mistakes) {
        let Self { kind, at: Some(at) } = self else { return };
        let key = match kind {
            Kind::Missing(field) => join(&at.path, field),
            _ => at.path.clone(),
        };
        let key = Some(&*key).filter(|key| !key.is_empty());
        mistakes.add(&at.origin, key, message(kind, &at, known, secrets));
    }
}

fn message(kind: Kind, at: &At, known: &[String], secrets: &[String]) -> String {
    match kind {
        Kind::Expected(what) => format!("expected {}{}", for_people(&what), and_found(at)),
        Kind::Word(words) => format!("expected {}{}", one_of(words), and_found(at)),
        Kind::Unknown(siblings) => unknown(&at.path, siblings, known),
        Kind::Missing(_) => "expected a value, found none".to_owned(),
        Kind::Custom(_) if at.hide == Hide::Everything => "expected another value".to_owned(),
        Kind::Custom(what) => {
            let what = redacted(&for_people(&what), secrets);
            format!("{}{}", plain(&what), and_found(at))
        }
    }
}

fn and_found(at: &At) -> String {
    at.found.as_ref().map_or_else(String::new, |found| format!(", found {found}"))
}

/// A key that there is not, and perhaps what was meant.
pub(super) fn unknown(path: &str, siblings: &[&str], known: &[String]) -> String {
    let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
    let meant = nearest(name, siblings.iter().copied())
        .map(|sibling| join_path(table, sibling))
        .or_else(|| nearest(path, known.iter().map(String::as_str)).map(str::to_owned));
    match meant {
        Some(meant) => format!("unknown key, did you mean {meant}?"),
        None if siblings.is_empty() => "unknown key".to_owned(),
        None => format!("unknown key, expected {}", one_of(siblings)),
    }
}

fn join_path(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

fn one_of(words: &[&str]) -> String {
    let more = if words.len() > LISTED { ", .." } else { "" };
    match words {
        [] => "nothing".to_owned(),
        [word] => (*word).to_owned(),
        [one, other] => format!("{one} or {other}"),
        _ => format!("one of {}{more}", words[..words.len().min(LISTED)].join(", ")),
    }
}

/// The text without any of the secrets, and without passwords of URLs. What is as short as a word of a message is
/// none.
pub(super) fn redacted(text: &str, secrets: &[String]) -> String {
    let mut text = without_passwords(text).into_owned();
    for secret in secrets.iter().filter(|secret| secret.chars().count() >= 4) {
        text = text.replace(secret.as_str(), "***");
    }
    short_message(&text)
}

fn short_message(text: &str) -> String {
    // Messages of types may have the whole value in them.
    if text.len() > 400 { short(text).into_owned() } else { text.to_owned() }
}

/// What serde, and types of the standard library, call what they expect.
fn for_people(what: &str) -> String {
    let what = match what {
        "a boolean" => "true or false",
        "a string" => "text",
        "a character" => "one character",
        "a sequence" => "a list",
        "a map" => "a table",
        "unit" => "nothing",
        "path string" => "a path",
        "IP address" => "an IP address such as 127.0.0.1",
        "IPv4 address" => "an IP address such as 127.0.0.1",
        "IPv6 address" => "an IP address such as ::1",
        "socket address" | "IPv4 socket address" => "an address with a port such as 127.0.0.1:8008",
        "IPv6 socket address" => "an address with a port such as [::1]:8008",
        "invalid socket address syntax" => "expected an address with a port such as 127.0.0.1:8008",
        "invalid IPv4 socket address syntax" => "expected an address with a port such as 127.0.0.1:8008",
        "invalid IPv6 socket address syntax" => "expected an address with a port such as [::1]:8008",
        "invalid IP address syntax" | "invalid IPv4 address syntax" => {
            "expected an IP address such as 127.0.0.1"
        }
        "invalid IPv6 address syntax" => "expected an IP address such as ::1",
        "f32" | "f64" => "a number",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "a nonzero u8" => "a whole number from 1 to 255",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        "a nonzero u64" | "a nonzero u128" | "a nonzero usize" => "a whole number, 1 or more",
        _ if what.starts_with("struct ") => "a table",
        _ if what.starts_with("enum ") => "a name",
        _ => what,
    };
    what.to_owned()
}

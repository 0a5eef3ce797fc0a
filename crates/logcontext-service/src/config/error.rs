//! [`ConfigErrors`]: all that is wrong with a configuration.

use std::fmt;

use super::Origin;
use super::text::plain;

/// So many mistakes are told in one go.
const TOLD: usize = 100;

/// One mistake: where it is, which key it is about, and what was expected instead.
///
/// Shows as one line: `presence.toml:12: presence.offline_timeout: expected a time such as 30s or 5m, found "soon"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    origin: Origin,
    key: Option<String>,
    message: String,
}

impl ConfigError {
    pub(super) fn new(origin: Origin, key: Option<String>, message: impl Into<String>) -> Self {
        Self { origin, key, message: message.into() }
    }

    /// Where the mistake was made.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key that it is about, such as `presence.offline_timeout` or `listeners[1].address`.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What was expected, and what was found.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(key) = &self.key {
            write!(f, "{}: ", plain(key))?;
        }
        f.write_str(&plain(&self.message))
    }
}

impl std::error::Error for ConfigError {}

/// All mistakes of a configuration, in the order of the sources: file by line, environment, command line.
///
/// Shows one line for each, without a newline at the end. Never empty, never with the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    more: bool,
}

impl ConfigErrors {
    /// Each of them. After 100 mistakes the rest is not looked for.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self { errors: vec![error], more: false }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.more {
            f.write_str("\nand more")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The mistakes so far.
#[derive(Default)]
pub(super) struct Mistakes {
    errors: Vec<ConfigError>,
    more: bool,
}

impl Mistakes {
    pub(super) fn add(&mut self, origin: &Origin, key: Option<&str>, message: impl Into<String>) {
        if self.errors.len() >= TOLD {
            self.more = true;
            return;
        }
        self.errors.push(ConfigError::new(origin.clone(), key.map(str::to_owned), message));
    }

    /// Whether there are more than are told.
    pub(super) fn is_full(&self) -> bool {
        self.more
    }

    pub(super) fn into_result(mut self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        self.errors.sort_by(|a, b| a.origin.cmp(&b.origin));
        Err(ConfigErrors { errors: self.errors, more: self.more })
    }
}

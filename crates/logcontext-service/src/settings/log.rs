//! What is logged, and where.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use logcontext_tracing::LogTarget;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{TextError, typed_text};

/// What is logged, and where.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogSettings {
    /// Lines for people, or JSON objects.
    pub format: LogFormat,
    /// A level, or levels by target such as `warn,presence=debug`.
    pub filter: String,
    /// `stdout`, `stderr`, or the path of a file, which is opened again at SIGHUP.
    pub target: LogDestination,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned(), target: LogDestination::Stdout }
    }
}

/// A format of the log.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of this file.
    File(PathBuf),
}

impl LogDestination {
    const EXPECTED: &str = "stdout, stderr or the path of a file";

    pub(crate) fn target(&self) -> LogTarget {
        match self {
            Self::Stdout => LogTarget::stdout(),
            Self::Stderr => LogTarget::stderr(),
            Self::File(path) => LogTarget::file(path),
        }
    }
}

impl FromStr for LogDestination {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text {
            "" => Err(TextError(Self::EXPECTED)),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for LogDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

typed_text!(LogDestination, "LogDestination", { "type": "string", "x-value-name": "stdout|stderr|FILE" });

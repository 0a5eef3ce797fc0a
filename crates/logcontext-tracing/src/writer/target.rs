//! [`LogTarget`]: where the writer writes to, and how that is opened again.

use std::borrow::Cow;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

pub(crate) type BoxedWrite = Box<dyn Write + Send>;

/// Where log lines go.
///
/// ```
/// use logcontext_tracing::LogTarget;
///
/// assert_eq!(LogTarget::stderr().name(), "stderr");
/// assert_eq!(LogTarget::file("/var/log/presence.log").name(), "/var/log/presence.log");
/// ```
pub struct LogTarget {
    name: Cow<'static, str>,
    place: Place,
    /// What was given.
    writer: Option<BoxedWrite>,
}

/// What can be opened.
pub(crate) enum Place {
    Stdout,
    Stderr,
    File(PathBuf),
    /// Nothing: a writer was given.
    Given,
}

impl LogTarget {
    /// Standard output.
    pub const fn stdout() -> Self {
        Self { name: Cow::Borrowed("stdout"), place: Place::Stdout, writer: None }
    }

    /// Standard error.
    pub const fn stderr() -> Self {
        Self { name: Cow::Borrowed("stderr"), place: Place::Stderr, writer: None }
    }

    /// The end of a file, which is made if need be; its folder is not. It can be
    /// [opened again](crate::LogWriter::reopen).
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { name: path.display().to_string().into(), place: Place::File(path), writer: None }
    }

    /// Anything else: a pipe, a socket, a test's buffer. Each call of its `write` has whole lines, many at once
    /// where there are many; `flush` follows.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self { name: Cow::Borrowed("writer"), place: Place::Given, writer: Some(Box::new(writer)) }
    }

    /// Calls it so in figures.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// What it is called in figures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name, what writes to it, and the place to open again.
    pub(crate) fn open(self) -> io::Result<(Cow<'static, str>, BoxedWrite, Place)> {
        let writer = match self.writer {
            Some(writer) => writer,
            None => self.place.open()?.unwrap_or_else(|| Box::new(io::sink())),
        };
        Ok((self.name, writer, self.place))
    }
}

impl Place {
    /// `None` where there is nothing to open.
    pub(crate) fn open(&self) -> io::Result<Option<BoxedWrite>> {
        Ok(Some(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Stderr => Box::new(io::stderr()),
            Self::File(path) => Box::new(OpenOptions::new().append(true).create(true).open(path)?),
            Self::Given => return Ok(None),
        }))
    }
}

impl fmt::Debug for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogTarget({})", self.name)
    }
}

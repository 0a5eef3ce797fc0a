//! [`Sources`]: what a configuration is made of.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What a configuration is made of. The later win: file, environment, command line.
///
/// [`Schema::sources`](super::Schema::sources) makes one for the running process. Its `Debug` has names, no values.
///
/// ```
/// use logcontext_service::config::Sources;
///
/// let sources = Sources::default()
///     .file("presence.toml")
///     .variable("PRESENCE_ADMIN_TOKEN", "hunter2")
///     .flag("log-format", "json");
/// assert!(!format!("{sources:?}").contains("hunter2"));
/// ```
#[derive(Clone, Default)]
pub struct Sources {
    /// The file. Without one, that of the variable `<PREFIX>_CONFIG`; without that, none.
    pub file: Option<PathBuf>,
    /// The environment: names and values. Of two with one name, the first counts.
    pub env: Vec<(OsString, OsString)>,
    /// The command line: names without dashes, and values. `set` has `KEY=VALUE`.
    pub flags: Vec<(String, OsString)>,
}

impl Sources {
    /// With this file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// With this variable too.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With this flag too.
    #[must_use]
    pub fn flag(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.flags.push((name.into(), value.into()));
        self
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("env", &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("flags", &self.flags.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

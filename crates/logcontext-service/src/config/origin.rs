//! [`Origin`]: where a value comes from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::text::plain;

/// Where a value comes from. The later variants win over the earlier.
///
/// ```
/// use logcontext_service::config::Origin;
/// use std::path::Path;
///
/// let origin = Origin::File { path: Path::new("presence.toml").into(), line: Some(12) };
/// assert_eq!(origin.to_string(), "presence.toml:12");
/// assert!(origin < Origin::Variable("PRESENCE_LOG".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody gave it: what the program takes by itself. Shown as `default`.
    Default,
    /// The file, at that line, from 1; or the file as a whole.
    File {
        /// As it was given.
        path: Arc<Path>,
        /// Counted from 1.
        line: Option<usize>,
    },
    /// The environment variable of that name.
    Variable(Arc<str>),
    /// That flag of the command line, with its dashes.
    Flag(Arc<str>),
}

impl Origin {
    /// Whether both come from one place: the same file, the environment, the command line.
    pub(super) fn is_with(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", plain(&path.to_string_lossy())),
            Self::File { path, line: None } => f.write_str(&plain(&path.to_string_lossy())),
            Self::Variable(name) | Self::Flag(name) => f.write_str(&plain(name)),
        }
    }
}

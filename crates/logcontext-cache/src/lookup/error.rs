//! What becomes of a lookup that finds nothing.

use std::fmt;
use std::sync::Arc;

/// Why there is no value. The same for all who waited for one lookup: the error itself is shared, and need not be
/// `Clone`.
pub enum LookupError<E> {
    /// The lookup failed, with this error.
    Failed(Arc<E>),
    /// The lookup panicked, with this message. It has been logged.
    Panicked(Arc<str>),
    /// The lookup of many keys found nothing for this one: see [`CachedLookup::find`](crate::CachedLookup::find).
    Absent,
    /// The lookup was dropped before it was done: its runtime has ended.
    Cancelled,
    /// The supervisor is shutting down, and its deadline is past.
    ShuttingDown,
    /// A lookup was to be started outside of any tokio runtime.
    NoRuntime,
}

impl<E> LookupError<E> {
    /// The error of the lookup itself, if it failed.
    pub fn failure(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> Clone for LookupError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked(message) => Self::Panicked(Arc::clone(message)),
            Self::Absent => Self::Absent,
            Self::Cancelled => Self::Cancelled,
            Self::ShuttingDown => Self::ShuttingDown,
            Self::NoRuntime => Self::NoRuntime,
        }
    }
}

impl<E: fmt::Display> fmt::Display for LookupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Panicked(message) => write!(f, "the lookup panicked: {message}"),
            Self::Absent => f.write_str("there is none"),
            Self::Cancelled => f.write_str("the lookup was cancelled: its runtime has ended"),
            Self::ShuttingDown => f.write_str("not looked up: shutting down"),
            Self::NoRuntime => f.write_str("not looked up: there is no tokio runtime here"),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for LookupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Panicked(message) => f.debug_tuple("Panicked").field(message).finish(),
            Self::Absent => f.write_str("Absent"),
            Self::Cancelled => f.write_str("Cancelled"),
            Self::ShuttingDown => f.write_str("ShuttingDown"),
            Self::NoRuntime => f.write_str("NoRuntime"),
        }
    }
}

/// Displayed as the lookup's own error, where there is one; see [`failure`](LookupError::failure) for the error itself.
/// There is no [`source`](std::error::Error::source), so that errors need not be `Error`s, as anyhow's are not.
impl<E: fmt::Debug + fmt::Display> std::error::Error for LookupError<E> {}

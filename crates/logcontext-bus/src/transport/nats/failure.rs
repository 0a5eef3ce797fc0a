//! Why the broker has not done what it was asked.

use std::sync::Arc;

use crate::transport::TransportError;

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing more is asked.
    Closed,
    /// The connection was lost on the way: it may have been done.
    Lost(Arc<str>),
    /// Nobody hears that subject: there is no such stream, or no JetStream.
    Nobody,
    /// It has said so, by one of its numbers.
    Error { number: u64, text: String },
    /// Before it was sent, or by what it says that cannot be read.
    Refused(String),
}

/// There is no such stream.
pub(super) const NO_STREAM: u64 = 10059;
/// There is no such consumer.
pub(super) const NO_CONSUMER: u64 = 10014;
/// There is no such message.
pub(super) const NO_MESSAGE: u64 = 10037;
/// There is such a stream, set up otherwise.
pub(super) const STREAM_IS_THERE: u64 = 10058;
/// Somebody else was faster.
pub(super) const WRONG_SEQUENCE: u64 = 10071;

impl Failure {
    pub(super) fn gone() -> Self {
        Self::Lost("the broker has closed it".into())
    }

    pub(super) fn is(&self, what: u64) -> bool {
        matches!(self, Self::Error { number, .. } if *number == what)
    }

    /// There is no such stream or consumer.
    pub(super) fn is_absence(&self) -> bool {
        *self == Self::Nobody
            || [NO_STREAM, NO_CONSUMER, NO_MESSAGE].into_iter().any(|number| self.is(number))
    }
}

impl From<Failure> for TransportError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Closed => Self::Closed,
            Failure::Lost(why) => Self::Lost(why),
            Failure::Nobody => Self::Refused("nobody answers for its streams: is JetStream on?".to_owned()),
            Failure::Error { number, text } => Self::Refused(format!("{text} ({number})")),
            Failure::Refused(why) => Self::Refused(why),
        }
    }
}

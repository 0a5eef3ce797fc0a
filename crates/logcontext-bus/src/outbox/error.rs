//! What can go wrong, and who can act on it.

use logcontext_db::Error;

use crate::error::FireError;

/// An outbox cannot be opened, or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// A setting that cannot be: which, and what was expected.
    #[error("{0}")]
    Config(String),
    /// No service has opened one there so far.
    #[error("this database has no outbox: expected that of a service which has run with one")]
    Absent,
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] Error),
}

/// An event was not stored: the transaction is to be given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FireInError {
    /// It is none that can be fired. Nothing was written.
    #[error(transparent)]
    Event(#[from] FireError),
    /// No outbox was opened for this bus: nobody would send it. Nothing was written.
    #[error("this bus has no outbox: expected one to be opened before events are fired in transactions")]
    NoOutbox,
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] Error),
}

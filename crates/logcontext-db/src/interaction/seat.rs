//! [`Seat`]: where a transaction's connection sits between two statements, so that the closure can own its
//! [`Txn`](crate::Txn) and the interaction still gets the connection back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Class;
use crate::interaction::Callbacks;
use crate::pool::Held;
use crate::settings::Settings;
use crate::{Backend, Error};

pub(crate) struct Seat(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// `None` while a statement runs, and once the transaction is over.
    held: Option<Held>,
    over: bool,
    left: Left,
}

/// What a transaction leaves behind.
#[derive(Default)]
pub(super) struct Left {
    pub(super) callbacks: Callbacks,
    /// A statement was dropped before it had ended.
    pub(super) interrupted: bool,
    /// Another transaction was in the way: it is worth another try.
    pub(super) conflict: bool,
    /// A statement failed. On PostgreSQL the transaction has then failed as a whole, unless there was a savepoint.
    pub(super) failed: bool,
}

impl Seat {
    pub(super) fn new(held: Held) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inside { held: Some(held), ..Inside::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, for one statement.
    pub(crate) fn lease(&self) -> Result<Lease<'_>, Error> {
        let mut inside = self.lock();
        if inside.left.interrupted {
            return Err(Error::Interrupted);
        }
        match inside.held.take() {
            Some(held) => Ok(Lease { seat: self, held: Some(held) }),
            None => Err(Error::Over),
        }
    }

    pub(crate) fn callbacks(&self, add: impl FnOnce(&mut Callbacks)) {
        add(&mut self.lock().left.callbacks);
    }

    /// Ends the transaction for whoever still has a `Txn`. There is no connection where somebody is using it: then
    /// it goes back by itself, later.
    pub(super) fn close(&self) -> (Option<Held>, Left) {
        let mut inside = self.lock();
        inside.over = true;
        (inside.held.take(), std::mem::take(&mut inside.left))
    }
}

/// The connection of a transaction, for one statement. Goes back to its seat when it is dropped.
pub(crate) struct Lease<'a> {
    seat: &'a Seat,
    held: Option<Held>,
}

impl Lease<'_> {
    pub(crate) fn held(&mut self) -> &mut Held {
        self.held.as_mut().expect("leased until it is dropped")
    }

    pub(crate) fn backend(&self) -> Option<Backend> {
        self.held.as_ref().map(Held::backend)
    }

    /// The statement has ended. Makes the driver's error ours.
    pub(crate) fn done<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        let held = self.held();
        held.done(&result);
        let (backend, settings) = (held.backend(), Arc::clone(&held.pool().settings));
        result.map_err(|error| {
            let mut inside = self.seat.lock();
            inside.left.failed = true;
            inside.left.conflict |= Class::of(&error, backend) == Class::Conflict;
            drop(inside);
            ours(error, backend, &settings)
        })
    }
}

/// The driver's error as ours.
pub(crate) fn ours(error: sqlx::Error, backend: Backend, settings: &Settings) -> Error {
    match Class::of(&error, backend) {
        Class::Lost => Error::ConnectionLost(error),
        Class::Cancelled => {
            let limit = settings.statement_timeout;
            // Somebody else may have cancelled it; the server says which, in words.
            if limit.is_some() || error.to_string().contains("statement timeout") {
                Error::StatementTimeout { limit }
            } else {
                Error::Database(error)
            }
        }
        Class::Conflict | Class::Other => Error::Database(error),
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let mut inside = self.seat.lock();
        if held.is_in_flight() {
            inside.left.interrupted = true;
            held.interrupt();
        }
        if inside.over {
            // The transaction has ended meanwhile. Out of the lock, for it may start something.
            drop(inside);
            drop(held);
        } else {
            inside.held = Some(held);
        }
    }
}

//! [`Seat`]: where a transaction's connection sits between two statements, so that the closure can own its
//! [`Txn`](crate::Txn) and the interaction still gets the connection back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Class, ours};
use crate::interaction::Callbacks;
use crate::pool::Held;
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
    /// It is worth another try: another transaction was in the way, or the connection's runtime has gone.
    pub(super) again: bool,
    /// The last statement that failed, and how. On PostgreSQL the transaction has then failed as a whole, unless
    /// there was a savepoint.
    pub(super) failed: Option<String>,
    /// The database has rolled it back by itself: further statements would stand for themselves.
    pub(super) rolled_back: bool,
}

impl Left {
    /// What the transaction has failed of, though its closure says otherwise.
    pub(super) fn cause(&mut self) -> String {
        self.failed.take().unwrap_or_else(|| "a statement of its own rolled it back".to_owned())
    }
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
        if inside.over {
            return Err(Error::Over);
        }
        if inside.left.interrupted {
            return Err(Error::Interrupted);
        }
        if inside.left.rolled_back {
            let cause = inside.left.failed.clone().unwrap_or_default();
            return Err(Error::Failed { cause });
        }
        match inside.held.take() {
            Some(held) => Ok(Lease { seat: self, held: Some(held) }),
            None => Err(Error::Over),
        }
    }

    pub(crate) fn callbacks(&self, add: impl FnOnce(&mut Callbacks)) {
        let mut inside = self.lock();
        if !inside.over {
            add(&mut inside.left.callbacks);
        }
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

    /// The connection, for a statement that the current context asks for.
    pub(crate) fn connection(&mut self) -> &mut crate::connection::Connection {
        let held = self.held();
        held.asked_for();
        held.connection()
    }

    /// The statement has ended. Makes the driver's error ours.
    pub(crate) fn done<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        let held = self.held();
        held.done(&result);
        held.answered();
        let (backend, settings) = (held.backend(), Arc::clone(&held.pool().settings));
        if held.has_rolled_back() {
            self.seat.lock().left.rolled_back = true;
        }
        result.map_err(|error| {
            let mut inside = self.seat.lock();
            inside.left.again |=
                Class::of(&error, backend) == Class::Conflict || is_of_a_gone_runtime(&error);
            // Once PostgreSQL only answers that something has failed before, that is what matters.
            if inside.left.failed.is_none() || !is_aftermath(&error, backend) {
                inside.left.failed = Some(error.to_string());
            }
            drop(inside);
            ours(error, backend, &settings)
        })
    }
}

/// Some other runtime has opened the connection, and has ended. The server rolls back what was not committed.
fn is_of_a_gone_runtime(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if tokio::runtime::is_rt_shutdown_err(error))
}

/// "Current transaction is aborted, commands ignored until end of transaction block".
fn is_aftermath(error: &sqlx::Error, backend: Backend) -> bool {
    backend == Backend::Postgres
        && error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "25P02")
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

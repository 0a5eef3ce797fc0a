//! [`Places`]: how many connections a pool may have, and those of them that nobody uses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, TryAcquireError};

use super::Pool;
use crate::connection::Connection;

/// There are as many places as there may be connections. Whoever has one may take an idle connection, or open one.
pub(super) struct Places {
    /// Those that nobody has. Who waits for one is served in order.
    free: Semaphore,
    size: usize,
    /// Never more of them than free places.
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    #[expect(clippy::vec_box, reason = "lent and given back with each call: moved is the box")]
    connections: Vec<Box<Connection>>,
    in_use: usize,
    closed: bool,
}

/// The pool gives out no more of them.
pub(super) struct Closed;

/// A place that somebody has. Free again when this is dropped.
pub(super) struct Place {
    pool: Arc<Pool>,
}

/// A connection that somebody has, and its place: goes back to the pool when this is dropped, if it is fit for that.
pub(super) struct Lent {
    /// `None` once it was taken out.
    connection: Option<Box<Connection>>,
    /// The pool may have it back.
    is_fit: bool,
    /// Free after the connection is back: whoever gets it finds that. `None` once it was taken out.
    place: Option<Place>,
}

const HERE: &str = "there until it is taken out, which consumes this";

impl Places {
    pub(super) fn new(size: usize) -> Self {
        let idle = Idle { connections: Vec::with_capacity(size), ..Idle::default() };
        Self { free: Semaphore::new(size), size, idle: Mutex::new(idle) }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn capacity(&self) -> usize {
        self.size
    }

    /// None while the pool is closed.
    pub(super) fn size(&self) -> usize {
        if self.lock().closed { 0 } else { self.size }
    }

    /// How many connections are idle, and how many in use.
    pub(super) fn counts(&self) -> (usize, usize) {
        let idle = self.lock();
        (idle.connections.len(), idle.in_use)
    }

    /// Removes the idle connections of which this is true.
    pub(super) fn remove(&self, mut is_removed: impl FnMut(&Connection) -> bool) -> Vec<Connection> {
        let removed = self.lock().connections.extract_if(.., |connection| is_removed(connection)).collect();
        unboxed(removed)
    }

    /// Gives out no more, refuses who waits, takes nothing back, and hands over those that are idle.
    pub(super) fn close(&self) -> Vec<Connection> {
        let idle = {
            let mut idle = self.lock();
            idle.closed = true;
            std::mem::take(&mut idle.connections)
        };
        self.free.close();
        unboxed(idle)
    }
}

#[expect(clippy::vec_box, reason = "as they are kept")]
fn unboxed(connections: Vec<Box<Connection>>) -> Vec<Connection> {
    connections.into_iter().map(|connection| *connection).collect()
}

impl Place {
    /// A free one, if there is one that nobody else waits for.
    pub(super) fn at_once(pool: &Arc<Pool>) -> Result<Option<Self>, Closed> {
        match pool.places.free.try_acquire() {
            Ok(permit) => {
                permit.forget();
                Ok(Some(Self { pool: Arc::clone(pool) }))
            }
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(Closed),
        }
    }

    /// The next one that becomes free.
    pub(super) async fn next(pool: &Arc<Pool>) -> Result<Self, Closed> {
        let permit = pool.places.free.acquire().await.map_err(|_| Closed)?;
        permit.forget();
        Ok(Self { pool: Arc::clone(pool) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.places.free.add_permits(1);
    }
}

impl Lent {
    /// The connection that was used last: the likeliest to be warm, and the others may become idle. The place as it
    /// was, if there is none.
    pub(super) fn idle(place: Place) -> Result<Self, Place> {
        let mut idle = place.pool.places.lock();
        let Some(mut connection) = idle.connections.pop() else {
            drop(idle);
            return Err(place);
        };
        idle.in_use += 1;
        drop(idle);
        connection.is_new = false;
        Ok(Self { connection: Some(connection), is_fit: true, place: Some(place) })
    }

    /// One that was just opened.
    pub(super) fn opened(connection: Box<Connection>, place: Place) -> Self {
        place.pool.places.lock().in_use += 1;
        Self { connection: Some(connection), is_fit: true, place: Some(place) }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.place.as_ref().expect(HERE).pool
    }

    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_deref().expect(HERE)
    }

    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        self.connection.as_deref_mut().expect(HERE)
    }

    /// If it is not, and this is dropped, the connection is closed.
    pub(super) fn set_fit(&mut self, is_fit: bool) {
        self.is_fit = is_fit;
    }

    /// The connection without its place, which is free.
    pub(super) fn take(mut self) -> Connection {
        self.out()
    }

    /// Drops the connection and keeps the place.
    pub(super) fn keep_place(mut self) -> Place {
        drop(self.out());
        self.place.take().expect(HERE)
    }

    fn out(&mut self) -> Connection {
        let connection = self.connection.take().expect(HERE);
        self.pool().places.lock().in_use -= 1;
        *connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut idle = self.pool().places.lock();
        idle.in_use -= 1;
        if self.is_fit && !idle.closed {
            idle.connections.push(connection);
        } else {
            // Out of the lock: its drop starts something.
            drop(idle);
            drop(connection);
        }
    }
}

//! [`Lent`]: a connection of the pool's, with its place.

use std::sync::Arc;

use super::Pool;
use super::places::Place;
use crate::connection::Connection;

/// A connection that somebody has, and its place: goes back to the pool when this is dropped, if it is fit for that.
pub(super) struct Lent {
    /// `None` once it was taken out.
    connection: Option<Box<Connection>>,
    /// The pool may have it back.
    is_fit: bool,
    /// Its place is to be given back as well.
    has_place: bool,
    pool: Arc<Pool>,
}

const HERE: &str = "there until it is taken out, which consumes this";

impl Lent {
    /// The idle connection that was used last, with a place, if there are both at once and it is as it should be.
    #[inline]
    pub(super) fn at_once(pool: &Arc<Pool>, is_well: impl FnOnce(&Connection) -> bool) -> Option<Self> {
        let mut now = pool.places.lock();
        // Neither is there once the pool is closed.
        if now.free == 0 {
            return None;
        }
        let mut connection = now.idle.pop_if(|connection| is_well(connection))?;
        now.free -= 1;
        now.in_use += 1;
        drop(now);
        connection.is_new = false;
        Some(Self { connection: Some(connection), is_fit: true, has_place: true, pool: Arc::clone(pool) })
    }

    /// The connection that was used last: the likeliest to be warm, and the others may become idle. The place as it
    /// was, if there is none.
    pub(super) fn idle(place: Place) -> Result<Self, Place> {
        let Some(pool) = &place.pool else { return Err(place) };
        let mut now = pool.places.lock();
        let Some(mut connection) = now.idle.pop() else {
            drop(now);
            return Err(place);
        };
        now.in_use += 1;
        drop(now);
        connection.is_new = false;
        Ok(Self { connection: Some(connection), is_fit: true, has_place: true, pool: place.into_pool() })
    }

    /// One that was just opened.
    pub(super) fn opened(connection: Box<Connection>, place: Place) -> Self {
        let pool = place.into_pool();
        pool.places.lock().in_use += 1;
        Self { connection: Some(connection), is_fit: true, has_place: true, pool }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
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
        self.has_place = false;
        Place::of(&self.pool)
    }

    fn out(&mut self) -> Connection {
        let connection = self.connection.take().expect(HERE);
        self.pool.places.lock().in_use -= 1;
        *connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let places = &self.pool.places;
        let mut now = places.lock();
        if let Some(connection) = self.connection.take() {
            now.in_use -= 1;
            if self.is_fit && !now.closed {
                now.idle.push(connection);
            } else {
                // Out of the lock: its drop starts something.
                drop(now);
                drop(connection);
                now = places.lock();
            }
        }
        // After the connection: whoever gets the place finds that.
        if self.has_place {
            places.give_back(now, &self.pool);
        }
    }
}

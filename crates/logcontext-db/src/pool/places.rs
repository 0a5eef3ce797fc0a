//! [`Places`]: how many connections a pool may have, and those of them that nobody uses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Pool;
use crate::connection::Connection;

/// There are as many places as there may be connections. Whoever has one may take an idle connection, or open one.
/// One lock for all of it: a connection and its place are taken, and given back, in one go.
pub(super) struct Places {
    size: usize,
    now: Mutex<Now>,
}

#[derive(Default)]
pub(super) struct Now {
    /// Places that nobody has: none while somebody waits for one.
    pub(super) free: usize,
    /// Those who wait for a place, by when they came: each is handed the next one.
    line: BTreeMap<u64, oneshot::Sender<Place>>,
    came: u64,
    /// Never more of them than free places, but for a moment in which one is handed on.
    #[expect(clippy::vec_box, reason = "lent and given back with each call: moved is the box")]
    pub(super) idle: Vec<Box<Connection>>,
    pub(super) in_use: usize,
    pub(super) closed: bool,
}

/// The pool gives out no more of them.
pub(super) struct Closed;

/// A place that somebody has. Free again, or the next one's, when this is dropped.
pub(super) struct Place {
    /// `None` once a connection has it.
    pub(super) pool: Option<Arc<Pool>>,
}

/// Somebody in the line: leaves it when this is dropped.
struct Turn<'a> {
    places: &'a Places,
    number: u64,
}

const HERE: &str = "there until it is taken out, which consumes this";

impl Places {
    pub(super) fn new(size: usize) -> Self {
        let now = Now { free: size, idle: Vec::with_capacity(size), ..Now::default() };
        Self { size, now: Mutex::new(now) }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
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
        let now = self.lock();
        (now.idle.len(), now.in_use)
    }

    /// Removes the idle connections of which this is true.
    pub(super) fn remove(&self, mut is_removed: impl FnMut(&Connection) -> bool) -> Vec<Connection> {
        let removed = self.lock().idle.extract_if(.., |connection| is_removed(connection)).collect();
        unboxed(removed)
    }

    /// Gives out no more, refuses who waits, takes nothing back, and hands over those that are idle.
    pub(super) fn close(&self) -> Vec<Connection> {
        let (idle, line) = {
            let mut now = self.lock();
            now.closed = true;
            (std::mem::take(&mut now.idle), std::mem::take(&mut now.line))
        };
        // Out of the lock: it wakes them.
        drop(line);
        unboxed(idle)
    }

    /// Gives a place back, to who has waited longest if somebody does.
    pub(super) fn give_back(&self, mut now: MutexGuard<'_, Now>, pool: &Arc<Pool>) {
        if now.line.is_empty() {
            now.free += 1;
        } else {
            hand_on(now, pool);
        }
    }
}

#[cold]
fn hand_on(mut now: MutexGuard<'_, Now>, pool: &Arc<Pool>) {
    let Some((_, next)) = now.line.pop_first() else { return now.free += 1 };
    // Out of the lock: it wakes them. Who has gone at this moment does not take it: dropped, it goes on to the next.
    drop(now);
    drop(next.send(Place { pool: Some(Arc::clone(pool)) }));
}

#[expect(clippy::vec_box, reason = "as they are kept")]
fn unboxed(connections: Vec<Box<Connection>>) -> Vec<Connection> {
    connections.into_iter().map(|connection| *connection).collect()
}

impl Place {
    pub(super) fn of(pool: &Arc<Pool>) -> Self {
        Self { pool: Some(Arc::clone(pool)) }
    }

    /// A free one, if there is one that nobody else waits for.
    pub(super) fn at_once(pool: &Arc<Pool>) -> Result<Option<Self>, Closed> {
        let mut now = pool.places.lock();
        if now.closed {
            return Err(Closed);
        }
        if now.free == 0 {
            return Ok(None);
        }
        now.free -= 1;
        drop(now);
        Ok(Some(Self::of(pool)))
    }

    /// The next one that becomes free.
    pub(super) async fn next(pool: &Arc<Pool>) -> Result<Self, Closed> {
        let (mine, handed) = oneshot::channel();
        let turn = {
            let mut now = pool.places.lock();
            if now.closed {
                return Err(Closed);
            }
            if now.free > 0 {
                now.free -= 1;
                drop(now);
                return Ok(Self::of(pool));
            }
            let number = now.came;
            now.came += 1;
            now.line.insert(number, mine);
            Turn { places: &pool.places, number }
        };
        let place = handed.await;
        drop(turn);
        match place {
            Ok(place) if !pool.is_closed() => Ok(place),
            _ => Err(Closed),
        }
    }

    pub(super) fn into_pool(mut self) -> Arc<Pool> {
        self.pool.take().expect(HERE)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.places.give_back(pool.places.lock(), &pool);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let gone = self.places.lock().line.remove(&self.number);
        drop(gone);
    }
}

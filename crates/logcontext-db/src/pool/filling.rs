//! A place becomes a connection: an idle one that is still there, or a new one.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

use tokio::time::timeout;

use super::Pool;
use super::health::Verdict;
use super::lent::Lent;
use super::places::Place;
use crate::connection::Connection;

/// Why a place has no connection.
pub(super) enum Unfilled {
    Driver(sqlx::Error),
    /// It had one, to a database in memory, which is gone with it.
    MemoryLost,
}

impl Pool {
    /// An idle connection that needs no looking after, if that is what comes first and nobody waits for it: nearly
    /// always so. Whatever is not as usual is left to [`fill`](Self::fill).
    #[inline]
    pub(super) fn idle_at_once(self: &Arc<Self>, now: Instant) -> Option<Lent> {
        Lent::at_once(self, |connection| self.verdict(connection, now) == Verdict::Alive)
    }

    /// A connection in this place.
    pub(super) async fn fill(&self, mut place: Place) -> Result<Lent, Unfilled> {
        loop {
            let mut lent = match Lent::idle(place) {
                Ok(lent) => lent,
                Err(_) if self.is_private() && self.filled.load(SeqCst) => return Err(Unfilled::MemoryLost),
                Err(place) => {
                    let connection = self.open().await.map_err(Unfilled::Driver)?;
                    self.filled.store(true, SeqCst);
                    return Ok(Lent::opened(connection, place));
                }
            };
            let verdict = self.verdict(lent.connection(), Instant::now());
            if verdict == Verdict::Alive {
                return Ok(lent);
            }
            // If this is dropped half-way, nobody knows.
            lent.set_fit(false);
            if self.examine(lent.connection_mut(), verdict).await {
                lent.set_fit(true);
                return Ok(lent);
            }
            place = lent.keep_place();
        }
    }

    #[inline]
    fn verdict(&self, connection: &Connection, now: Instant) -> Verdict {
        match self.health.verdict(connection.generation) {
            _ if connection.is_homeless() => Verdict::Dead,
            Verdict::Alive
                if connection.used.checked_add(self.settings.ping_after).is_some_and(|then| now >= then) =>
            {
                Verdict::Doubtful
            }
            verdict => verdict,
        }
    }

    async fn open(&self) -> Result<Box<Connection>, sqlx::Error> {
        let generation = self.health.generation();
        let start = Instant::now();
        let connection = Connection::open(&self.opener, generation).await?;
        self.figures.connects.observe(start.elapsed());
        Ok(Box::new(connection))
    }

    /// Looks whether it is still there, and closes it if it is not.
    async fn examine(&self, connection: &mut Connection, verdict: Verdict) -> bool {
        let generation = self.health.generation();
        if verdict != Verdict::Dead && self.is_alive(connection).await {
            connection.generation = generation;
            return true;
        }
        self.figures.lost.fetch_add(1, Relaxed);
        connection.close().await;
        false
    }

    /// Asks it, but not for long: of a connection that was cut off somewhere on its way, nobody hears anything.
    async fn is_alive(&self, connection: &mut Connection) -> bool {
        match timeout(self.settings.ping_timeout(), connection.ping()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(target: "logcontext::db", %error, "an idle connection was lost: replaced");
                false
            }
            Err(_) => {
                tracing::debug!(target: "logcontext::db", "an idle connection does not answer: all are replaced");
                self.health.condemn();
                false
            }
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::time::Instant;

    use logcontext::{FutureExt as _, LogContext};

    use crate::Database;

    #[test]
    fn one_that_has_been_idle_for_long_is_not_taken_unasked() {
        let _test = logcontext::testing::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let idle = async {
            let database = Database::open("sqlite::memory:").await.unwrap();
            let (pool, now) = (database.pool(true), Instant::now());
            let long = pool.settings.ping_after;
            // It goes back to where it was each time.
            assert!(pool.idle_at_once(now).is_some());
            assert!(pool.idle_at_once(now + long).is_none());
            assert!(pool.idle_at_once(now).is_some());
            assert_eq!(database.close(long).await.left_open, 0);
        };
        runtime.block_on(idle.in_context(LogContext::new("test")));
    }
}

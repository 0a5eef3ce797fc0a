//! [`Connections`]: how deadpool makes a connection, and looks at one before it is used again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::time::timeout;

use super::PoolFigures;
use super::health::{Health, Verdict};
use super::waiting::WAITER;
use crate::connection::{Connection, Opener};

pub(crate) struct Connections {
    opener: Opener,
    figures: Arc<PoolFigures>,
    health: Arc<Health>,
}

impl Connections {
    pub(super) fn new(opener: Opener, figures: Arc<PoolFigures>, health: Arc<Health>) -> Self {
        Self { opener, figures, health }
    }

    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }

    async fn open(&self) -> Result<Box<Connection>, sqlx::Error> {
        let generation = self.health.generation();
        let start = Instant::now();
        let connection = Connection::open(&self.opener, generation).await?;
        self.figures.connects.observe(start.elapsed());
        Ok(Box::new(connection))
    }

    /// Looks whether it is still there, and closes it if it is not.
    async fn examine(&self, connection: &mut Connection, verdict: Verdict) -> RecycleResult<sqlx::Error> {
        let generation = self.health.generation();
        let is_alive = match verdict {
            Verdict::Alive | Verdict::Doubtful => self.is_alive(connection).await,
            Verdict::Dead => false,
        };
        if !is_alive {
            self.figures.lost.fetch_add(1, Relaxed);
            connection.close().await;
            return Err(RecycleError::message("the connection was lost while it was idle"));
        }
        connection.generation = generation;
        Ok(())
    }

    /// Asks it, but not for long: of a connection that was cut off somewhere on its way, nobody hears anything.
    async fn is_alive(&self, connection: &mut Connection) -> bool {
        match timeout(self.opener.settings.ping_timeout(), connection.ping()).await {
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

/// Whoever comes here has been given a place: the waiting is over.
fn granted() {
    let _ = WAITER.try_with(|waiter| waiter.granted());
}

impl Manager for Connections {
    type Type = Box<Connection>;
    type Error = sqlx::Error;

    // What is seldom needed is in boxes, here and below: getting an idle connection moves this future about several
    // times, and the connection with it.
    async fn create(&self) -> Result<Box<Connection>, sqlx::Error> {
        granted();
        Box::pin(self.open()).await
    }

    async fn recycle(&self, connection: &mut Box<Connection>, _: &Metrics) -> RecycleResult<sqlx::Error> {
        granted();
        connection.is_new = false;
        match self.health.verdict(connection.generation) {
            Verdict::Alive if connection.used.elapsed() < self.opener.settings.ping_after => Ok(()),
            verdict => Box::pin(self.examine(connection, verdict)).await,
        }
    }
}

//! [`Connections`]: how deadpool makes a connection, and looks at one before it is used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};

use super::PoolFigures;
use super::waiting::WAITER;
use crate::connection::{Connection, Opener};

pub(crate) struct Connections {
    opener: Opener,
    figures: Arc<PoolFigures>,
    generation: Arc<AtomicU64>,
}

impl Connections {
    pub(super) fn new(opener: Opener, figures: Arc<PoolFigures>, generation: Arc<AtomicU64>) -> Self {
        Self { opener, figures, generation }
    }

    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }
}

/// Whoever comes here has been given a place: the waiting is over.
fn granted() {
    let _ = WAITER.try_with(|waiter| waiter.granted());
}

impl Manager for Connections {
    type Type = Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Connection, sqlx::Error> {
        granted();
        let generation = self.generation.load(Relaxed);
        let start = Instant::now();
        let connection = Connection::open(&self.opener, generation).await?;
        self.figures.connects.observe(start.elapsed());
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<sqlx::Error> {
        granted();
        connection.is_new = false;
        let generation = self.generation.load(Relaxed);
        let doubtful = connection.generation != generation;
        if !doubtful && connection.used.elapsed() < self.opener.settings.ping_after {
            return Ok(());
        }
        if let Err(error) = connection.ping().await {
            tracing::debug!(target: "logcontext::db", %error, "an idle connection was lost: replaced");
            self.figures.lost.fetch_add(1, Relaxed);
            connection.close().await;
            return Err(RecycleError::Backend(error));
        }
        connection.generation = generation;
        Ok(())
    }
}

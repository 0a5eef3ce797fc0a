//! [`DatabaseBuilder`]: how a database is to be used.

use std::sync::Arc;
use std::time::Duration;

use crate::settings::Settings;
use crate::{Database, Error, Migration};

/// Room is made for all of them.
const MOST_CONNECTIONS: usize = 10_000;

/// A database that is to be opened: see [`Database::builder`].
#[derive(Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct DatabaseBuilder {
    pub(crate) url: String,
    pub(crate) name: Arc<str>,
    pub(crate) settings: Settings,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) connect_within: Duration,
}

impl DatabaseBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            name: "main".into(),
            settings: Settings::default(),
            migrations: Vec::new(),
            connect_within: Duration::ZERO,
        }
    }

    /// What it is called in logs and metrics: `main` unless said otherwise. Each database of a process needs one of
    /// its own.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// How many connections may be open at a time: 10 unless said otherwise, from 1 to 10,000. On SQLite that many for reading, and
    /// one for writing.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections.clamp(1, MOST_CONNECTIONS);
        self
    }

    /// How long one may wait for a connection, opening it included: 30 s unless said otherwise. Then
    /// [`Error::AcquireTimeout`] if all were in use; [`Error::Connect`] if there was room for one, and the server was
    /// not there, had no room itself, or did not answer.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.settings.acquire_timeout = timeout;
        self
    }

    /// How many may wait for a connection at a time: 1,000 unless said otherwise. For the next one
    /// [`Error::QueueFull`], at once.
    pub fn queue_limit(mut self, waiters: usize) -> Self {
        self.settings.queue_limit = waiters;
        self
    }

    /// How long a statement may run: no limit unless said otherwise, or the server's. Then
    /// [`Error::StatementTimeout`].
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.settings.statement_timeout = Some(timeout);
        self
    }

    /// After how long an idle connection is closed: 10 minutes unless said otherwise.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// SQLite: how long to wait for another process that writes: 5 s unless said otherwise.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.settings.busy_timeout = timeout;
        self
    }

    /// From which wait for a connection on it is logged, at warn level: 1 s unless said otherwise.
    pub fn slow_wait(mut self, limit: Duration) -> Self {
        self.settings.slow_wait = limit;
        self
    }

    /// From which time in a transaction on it is logged, at warn level: 1 s unless said otherwise.
    pub fn slow_transaction(mut self, limit: Duration) -> Self {
        self.settings.slow_transaction = limit;
        self
    }

    /// How often a transaction is tried at most, where others are in its way: 5 times unless said otherwise.
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.settings.max_tries = tries.max(1);
        self
    }

    /// How long `open` goes on trying to reach a server that is not there, for services that start along with it:
    /// once and no more unless said otherwise.
    pub fn connect_within(mut self, time: Duration) -> Self {
        self.connect_within = time;
        self
    }

    /// The steps of the schema: those that are missing are applied when the database is opened.
    pub fn migrations(mut self, steps: impl IntoIterator<Item = Migration>) -> Self {
        self.migrations.extend(steps);
        self
    }

    /// Opens it: reaches the server, applies the migrations, starts to look after idle connections.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Connect`], [`Error::Migration`]. No connection is left open then, nor if this is
    /// dropped half-way.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(self) -> Result<Database, Error> {
        Database::open_with(self).await
    }
}

impl std::fmt::Debug for DatabaseBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the address: passwords are in it.
        f.debug_struct("DatabaseBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

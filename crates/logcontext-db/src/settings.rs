//! How a database is used: the limits that a [`DatabaseBuilder`](crate::DatabaseBuilder) sets.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_connections: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) queue_limit: usize,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) idle_timeout: Duration,
    /// A connection that nobody has used for so long is asked whether it is still there before it is used again.
    pub(crate) ping_after: Duration,
    pub(crate) slow_wait: Duration,
    pub(crate) slow_transaction: Duration,
    pub(crate) max_tries: u32,
    /// SQLite: how long a statement waits for other processes that write.
    pub(crate) busy_timeout: Duration,
}

/// How long a connection may take to say that it is still there.
const LONGEST_PING: Duration = Duration::from_secs(5);
const SHORTEST_PING: Duration = Duration::from_millis(100);

impl Settings {
    /// Never all the time that somebody has who waits for a connection: they want another one then.
    pub(crate) fn ping_timeout(&self) -> Duration {
        (self.acquire_timeout / 2).clamp(SHORTEST_PING, LONGEST_PING)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(30),
            queue_limit: 1_000,
            statement_timeout: None,
            idle_timeout: Duration::from_secs(10 * 60),
            ping_after: Duration::from_secs(5),
            slow_wait: Duration::from_secs(1),
            slow_transaction: Duration::from_secs(1),
            max_tries: 5,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

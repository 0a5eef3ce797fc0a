use std::sync::Arc;
use std::time::Duration;

use logcontext::Supervisor;
use tokio::sync::Semaphore;

/// How [`serve`](crate::serve) serves.
///
/// ```
/// use logcontext_http::ServeOptions;
/// use std::time::Duration;
///
/// let options = ServeOptions::default()
///     .name("federation")
///     .header_read_timeout(Duration::from_secs(10))
///     .shutdown_deadline(Duration::from_secs(20))
///     .max_connections(10_000);
/// assert!(format!("{options:?}").contains("federation"));
/// ```
#[derive(Clone, Debug)]
pub struct ServeOptions {
    pub(super) name: Arc<str>,
    pub(super) supervisor: Option<Supervisor>,
    pub(super) header_read_timeout: Duration,
    pub(super) shutdown_deadline: Duration,
    pub(super) while_draining: bool,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::Tls>,
    max_connections: Option<usize>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            name: "http".into(),
            supervisor: None,
            header_read_timeout: Duration::from_secs(30),
            shutdown_deadline: Duration::from_secs(10),
            while_draining: false,
            #[cfg(feature = "tls")]
            tls: None,
            max_connections: None,
        }
    }
}

impl ServeOptions {
    /// What the listener is called: its connections are totalled by it. `http` if nobody says.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The supervisor that the connections belong to, and whose shutdown ends the serving. If nobody says: the one
    /// that is current where `serve` is first polled.
    #[must_use]
    pub fn supervisor(mut self, supervisor: &Supervisor) -> Self {
        self.supervisor = Some(supervisor.clone());
        self
    }

    /// How long a client may take for the headers of a request, and between two requests: 30 s if nobody says.
    /// Then its connection is closed. `Duration::MAX` is for ever.
    #[must_use]
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.header_read_timeout = timeout;
        self
    }

    /// How long requests in flight may take at the shutdown: 10 s if nobody says. Shorter than the deadline given
    /// to [`Supervisor::shutdown`], which ends whatever is left as well.
    #[must_use]
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.shutdown_deadline = deadline;
        self
    }

    /// How many connections may be open at a time, at least one; no limit if nobody says. Others wait until they
    /// are accepted. A TLS handshake counts, and one that was upgraded does not count any more.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Goes on until the supervisor shuts down, even while it drains: for listeners that tell how the draining goes,
    /// such as those for health and metrics. If nobody says, serving ends as soon as the supervisor drains.
    #[must_use]
    pub fn while_draining(mut self) -> Self {
        self.while_draining = true;
        self
    }

    /// Encrypts all connections with this certificate: see [`Tls`](crate::Tls).
    ///
    /// The handshake is charged to its connection, in whose context it runs, and keeps nobody else waiting. It may
    /// take as long as the headers of a request may, the
    /// [`header_read_timeout`](Self::header_read_timeout). One that fails is logged at debug level.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: super::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    pub(super) fn places(&self) -> usize {
        self.max_connections.unwrap_or(Semaphore::MAX_PERMITS).clamp(1, Semaphore::MAX_PERMITS)
    }
}

//! How a bus is set up.

use std::time::Duration;

use crate::error::ConnectError;
use crate::name;

/// How a bus is set up. All has a default that fits a service of middle size.
///
/// ```
/// use logcontext_bus::BusConfig;
/// use std::time::Duration;
///
/// let config = BusConfig { call_timeout: Duration::from_secs(2), ..BusConfig::new("presence", "memory:") };
/// assert!(config.check().is_ok());
/// assert!(BusConfig::new("no such name!", "memory:").check().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// Which service this is: said with each message, and part of what its consumers are called.
    pub service: String,
    /// Where the broker is: `memory:` is this bus alone; `redis://host:port/db` needs the feature `redis`,
    /// `nats://host:port` the feature `nats`.
    pub url: String,
    /// What all keys of the broker begin with, so that several may share one: `logcontext` unless told otherwise.
    pub prefix: String,
    /// So long a call waits for its answer unless the call says otherwise: 5 s.
    pub call_timeout: Duration,
    /// So long an event waits until the broker has it unless told otherwise: 5 s.
    pub fire_timeout: Duration,
    /// So long it may take to begin to listen or to serve: 10 s.
    pub start_timeout: Duration,
    /// So many commands wait for the broker, each kind in a queue of its own: 10,000. Who wants to put in more waits.
    pub queue: usize,
    /// The longest message that is sent, and that is taken, in bytes: 1 MiB.
    pub max_message: usize,
    /// Deeper than this no chain of calls gets, each of which waits for the next: 32.
    pub max_depth: u8,
    /// So many nested calls are handled at once beyond what the handlers have slots for: 10,000. More are refused.
    pub max_nested: usize,
    /// An event is taken from a consumer that has not renewed its claim for so long: 15 s. One that lives renews every
    /// third of it.
    pub claim_after: Duration,
    /// Whether the answers to calls that are handled here say what these have cost, which their callers are charged as
    /// [`remote`](logcontext::ResourceUsage::remote): they do. For services whose callers may not know.
    pub costs_in_replies: bool,
    /// How long events are kept.
    pub retention: Retention,
}

/// How long events are kept, each stream by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// So many are kept though all groups have them, to be looked at: 1,000.
    pub history: usize,
    /// More than this are never kept, whoever has not read them: 1,000,000. It is warned of from four fifths on.
    pub cap: usize,
    /// So often streams are trimmed: every 10 s.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { history: 1_000, cap: 1_000_000, every: Duration::from_secs(10) }
    }
}

impl Retention {
    /// With so many kept to be looked at.
    #[must_use]
    pub fn history(mut self, history: usize) -> Self {
        self.history = history;
        self
    }

    /// With so many at most.
    #[must_use]
    pub fn cap(mut self, cap: usize) -> Self {
        self.cap = cap;
        self
    }

    /// Looked after so often.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }
}

impl BusConfig {
    /// For this service and this broker; all else by default.
    pub fn new(service: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            url: url.into(),
            prefix: "logcontext".to_owned(),
            call_timeout: Duration::from_secs(5),
            fire_timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            queue: 10_000,
            max_message: 1024 * 1024,
            max_depth: 32,
            max_nested: 10_000,
            claim_after: Duration::from_secs(15),
            costs_in_replies: true,
            retention: Retention::default(),
        }
    }

    /// Can it be?
    ///
    /// # Errors
    /// The first thing that cannot, and what was expected.
    pub fn check(&self) -> Result<(), ConnectError> {
        name::check("a service", &self.service)?;
        name::check("a prefix", &self.prefix)?;
        let positive = [
            ("call_timeout", self.call_timeout),
            ("fire_timeout", self.fire_timeout),
            ("start_timeout", self.start_timeout),
            ("retention.every", self.retention.every),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, time)| time.is_zero()) {
            return Err(ConnectError::Config(format!("{key} is 0: expected some time")));
        }
        if self.claim_after < Duration::from_millis(30) {
            return Err(ConnectError::Config(format!(
                "claim_after is {:?}: expected at least 30ms",
                self.claim_after
            )));
        }
        let counts = [
            ("queue", self.queue),
            ("max_message", self.max_message),
            ("max_nested", self.max_nested),
            ("retention.cap", self.retention.cap),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ConnectError::Config(format!("{key} is 0: expected at least 1")));
        }
        if self.retention.history > self.retention.cap {
            return Err(ConnectError::Config(format!(
                "retention.history is {}: expected at most retention.cap, {}",
                self.retention.history, self.retention.cap
            )));
        }
        Ok(())
    }
}

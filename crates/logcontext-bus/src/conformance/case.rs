//! The ground a behaviour is tested on.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use logcontext::Supervisor;

use super::peer::Peer;
use super::{Broker, Trouble};
use crate::Bus;
use crate::config::BusConfig;
use crate::transport::Link;

/// Longer than this no answer takes, however slow the broker is.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a behaviour is tested on: a broker, and a prefix that nobody else has.
#[derive(Clone)]
pub struct Case {
    broker: Arc<dyn Broker>,
    prefix: Arc<str>,
    peers: Arc<AtomicU64>,
}

impl Case {
    pub(crate) fn new(broker: Arc<dyn Broker>) -> Self {
        let prefix = format!("conformance-{:016x}", fastrand::u64(..));
        Self { broker, prefix: prefix.into(), peers: Arc::default() }
    }

    /// One more service.
    pub(crate) fn connect(&self) -> Peer {
        self.connect_with(|config| config)
    }

    /// One more service, set up otherwise.
    pub(crate) fn connect_with(&self, setup: impl FnOnce(BusConfig) -> BusConfig) -> Peer {
        let link = self.link(setup);
        let (identity, inbox) = (Arc::clone(&link.identity), Arc::clone(&link.inbox));
        Peer::new(self.broker.connect(link).expect("a transport"), inbox, identity)
    }

    /// A bus for the current supervisor.
    pub(crate) fn bus(&self, config: &BusConfig) -> Bus {
        Bus::over(config, &*self.broker).expect("a bus")
    }

    /// What the bus of one more service would give to its transport.
    pub(crate) fn link(&self, setup: impl FnOnce(BusConfig) -> BusConfig) -> Link {
        let number = self.peers.fetch_add(1, Relaxed);
        let config = BusConfig {
            prefix: self.prefix.to_string(),
            ..BusConfig::new(format!("service-{number}"), "conformance:")
        };
        let config = setup(config);
        let identity = format!("{}/{:016x}", config.service, fastrand::u64(..)).into();
        Link { config, identity, inbox: Arc::default(), supervisor: Supervisor::current() }
    }

    /// Makes trouble. If the broker cannot be troubled like that, says so, and the behaviour is left out.
    pub(crate) async fn trouble(&self, trouble: Trouble) -> bool {
        let broker = Arc::clone(&self.broker);
        let done = logcontext::spawn_blocking(move || broker.trouble(trouble)).await;
        let could = done.expect("making trouble");
        if !could {
            println!("left out: this broker knows no {trouble:?}");
        }
        could
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

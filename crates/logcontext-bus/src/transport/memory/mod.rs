//! [`Memory`]: a broker in this process.

mod carry;
mod client;
mod connection;
mod consumer;
mod kept;
mod leases;
mod partition;
mod pump;
mod queue;
mod server;
mod space;
mod stream;
mod subscribed;
mod sweep;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use connection::Connection;
use space::Space;

use super::{Connector, Link, Transport};
use crate::error::ConnectError;

/// A broker in this process: what is behind a bus of one service, and behind tests of several. Clones are the same broker;
/// buses over it that have the same [prefix](crate::BusConfig::prefix) share all. What it keeps is gone with its last
/// handle and its last bus.
///
/// Events are logs with a cursor for each group, so a listener may fire what it listens to. What a consumer has that dies
/// goes to others at once. Calls go straight to a server that has a slot; only for one are they queued, up to
/// [`queue`](crate::BusConfig::queue) of each RPC.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use logcontext_bus::transport::Memory;
/// use logcontext_bus::{Bus, BusConfig};
///
/// let broker = Memory::new();
/// let presence = Bus::over(&BusConfig::new("presence", "memory:"), &broker)?;
/// let sync = Bus::over(&BusConfig::new("sync", "memory:"), &broker)?;
/// assert!(presence.status().connected.is_ok());
/// assert_ne!(presence.identity(), sync.identity());
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Memory {
    spaces: Arc<Mutex<FxHashMap<String, Arc<Space>>>>,
}

impl Memory {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Connector for Memory {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        let space = Arc::clone(lock(&self.spaces).entry(link.config.prefix.clone()).or_default());
        Ok(Arc::new(Connection::new(space, link)))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// What is behind our locks is whole between any two statements, so a poisoned lock is just a lock.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

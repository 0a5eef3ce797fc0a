//! Redis Streams.
//!
//! One connection carries all commands and brings all answers to calls: whoever owns it (`session`) sends what waits in
//! `queues` as one pipeline, waits for its answers, and takes what has come together meanwhile for the next. So
//! nothing is late by more than one round trip, and the more there is to do, the less each costs. Each listener and each
//! lane of what is served reads by a connection of its own, as it waits there for what is new.
//!
//! What must happen in one step is a script.

mod calls;
mod clock;
mod command;
mod events;
mod hearing;
mod keys;
mod leases;
mod log;
mod queues;
mod reader;
mod reading;
mod schemas;
mod scripts;
mod server;
mod session;
mod shared;
mod stopping;
mod url;
mod value;
mod wire;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    CallTransport, Connector, Doing, EventLog, EventTransport, Leases, Link, Schemas, Serving as _, Status,
    Transport, TransportError,
};
use crate::error::ConnectError;
use session::Session;
use shared::Shared;

/// A broker that is Redis, of version 6.2 or later. It needs a runtime with I/O and time enabled.
///
/// ```no_run
/// use logcontext_bus::{Bus, BusConfig};
/// use logcontext_bus::transport::Redis;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let config = BusConfig::new("presence", "redis://127.0.0.1:6379/");
/// let bus = Bus::over(&config, &Redis::new(&config.url).unwrap()).unwrap();
/// assert!(bus.status().connected.is_err()); // not yet
/// # }
/// ```
#[derive(Clone)]
pub struct Redis {
    address: redis::ConnectionInfo,
}

impl Redis {
    /// The one at `redis://user:password@host:port/db`, where all but the host can be left out.
    ///
    /// # Errors
    /// If the URL is none of that kind. It is not shown: it may have a password.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        url::parse(url).map(|address| Self { address })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.address.addr().to_string()).finish()
    }
}

impl Connector for Redis {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        let (queues, waiting) = queues::queues(link.config.queue);
        let shared = Arc::new(Shared::new(self.address.clone(), link, queues, Handle::current()));
        let closing = CancellationToken::new();
        let session = Session::new(Arc::clone(&shared), waiting, closing.clone());
        let done = CancellationToken::new();
        let is_done = done.clone().drop_guard();
        let run = async move {
            let _is_done = is_done;
            session.run().await;
        };
        shared.spawn("bus_redis", shared.end.clone(), run);
        Ok(Arc::new(RedisTransport { shared, closing, done }))
    }
}

/// One bus's connection to Redis.
struct RedisTransport {
    shared: Arc<Shared>,
    /// Told when nothing more is taken
    closing: CancellationToken,
    /// Told when all that was taken is done
    done: CancellationToken,
}

impl Transport for RedisTransport {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn events(&self) -> &dyn EventTransport {
        self
    }

    fn calls(&self) -> &dyn CallTransport {
        self
    }

    fn log(&self) -> &dyn EventLog {
        self
    }

    fn leases(&self) -> &dyn Leases {
        self
    }

    fn schemas(&self) -> &dyn Schemas {
        self
    }

    fn status(&self) -> Status {
        Status {
            connected: self.shared.connected.borrow().clone(),
            queued: self.shared.queues.len(),
            is_full: self.shared.queues.is_full(),
            connections: self.shared.connections.load(Relaxed),
            reconnects: self.shared.reconnects.load(Relaxed),
        }
    }

    fn connected(&self) -> Doing<'_, ()> {
        let mut connected = self.shared.connected.subscribe();
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.done.cancelled() => Err(TransportError::Closed),
                () = self.closing.cancelled() => Err(TransportError::Closed),
                found = connected.wait_for(Result::is_ok) => found.map(drop).map_err(|_| TransportError::Closed),
            }
        })
    }

    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let shared = &self.shared;
        if !shared.queues.is_closed() {
            shared.queues.close();
            let (closing, done) = (self.closing.clone(), self.done.clone());
            let (served, end) = (shared.take_served(), shared.end.clone());
            shared.spawn("bus_redis_close", CancellationToken::new(), async move {
                let finish = async {
                    for served in served {
                        let _ = served.stop().await;
                    }
                    closing.cancel();
                    done.cancelled().await;
                };
                let _ = tokio::time::timeout(deadline, finish).await;
                closing.cancel();
                end.cancel();
            });
            shared.tasks.close();
        }
        Box::pin(shared.tasks.wait())
    }
}

impl Drop for RedisTransport {
    fn drop(&mut self) {
        self.shared.end.cancel();
    }
}

impl fmt::Debug for RedisTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.shared.address.addr().to_string())
            .field("connected", &*self.shared.connected.borrow())
            .finish_non_exhaustive()
    }
}

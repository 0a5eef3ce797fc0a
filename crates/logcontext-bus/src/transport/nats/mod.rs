//! NATS JetStream.
//!
//! One connection carries everything. It is never mended: when it is lost, all that waited for an answer is told so, and
//! another is opened. So nothing is sent behind the back of who was told that it is lost.
//!
//! An event is a stream with a subject for each partition, a group a durable consumer for each partition: the broker keeps
//! what it has given, and gives it to another where nobody has renewed it. What it does not keep, whose an event is now, is
//! said among the consumers of the group (`hands`). The calls of a lane are a stream in the broker's memory, from which
//! servers pull as many as they have slots; answers are plain messages. Leases and schemas are subjects of one stream where
//! the last word counts, and leases by its number.

mod ack;
mod calls;
mod clock;
mod events;
mod failure;
mod gate;
mod hands;
mod js;
mod kept;
mod leases;
mod leftovers;
mod letters;
mod log;
mod names;
mod pulling;
mod reader;
mod reading;
mod receipts;
mod schemas;
mod server;
mod session;
mod shared;
mod stopping;
mod streams;
mod times;
mod trim;
mod under_way;
mod url;
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

/// A broker that is NATS with JetStream, of version 2.9 or later. It needs a runtime with I/O and time enabled.
///
/// The server's `max_payload` bounds what it takes, 1 MiB unless told otherwise: a message as long as
/// [`max_message`](crate::BusConfig::max_message) needs a bit more than that.
///
/// ```no_run
/// use logcontext_bus::{Bus, BusConfig};
/// use logcontext_bus::transport::Nats;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let config = BusConfig::new("presence", "nats://127.0.0.1:4222");
/// let bus = Bus::over(&config, &Nats::new(&config.url).unwrap()).unwrap();
/// assert!(bus.status().connected.is_err()); // not yet
/// # }
/// ```
#[derive(Clone)]
pub struct Nats {
    address: url::Address,
}

impl Nats {
    /// The one at `nats://user:password@host:port`, or `nats://token@host:port`; all but the host can be left out. There may
    /// be several hosts, of one cluster, with commas between them.
    ///
    /// # Errors
    /// If the URL is none of that kind; TLS is not spoken. It is not shown: it may have a password.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        url::parse(url).map(|address| Self { address })
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("address", &self.address.shown()).finish()
    }
}

impl Connector for Nats {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        let shared = Arc::new(Shared::new(self.address.clone(), link, Handle::current()));
        let closing = CancellationToken::new();
        let session = Session::new(Arc::clone(&shared), closing.clone());
        let done = CancellationToken::new();
        let is_done = done.clone().drop_guard();
        let run = async move {
            let _is_done = is_done;
            session.run().await;
        };
        // It ends by itself: it has to say goodbye.
        shared.spawn("bus_nats", CancellationToken::new(), run);
        shared.spawn("bus_nats_leftovers", shared.end.clone(), leftovers::keep_telling(Arc::clone(&shared)));
        Ok(Arc::new(NatsTransport { shared, closing, done }))
    }
}

/// One bus's connection to NATS.
struct NatsTransport {
    shared: Arc<Shared>,
    /// Told when nothing more is to be done
    closing: CancellationToken,
    /// Told when the connection is closed
    done: CancellationToken,
}

impl Transport for NatsTransport {
    fn name(&self) -> &'static str {
        "nats"
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
            connected: self.shared.connected.borrow().as_ref().map(drop).map_err(Arc::clone),
            queued: self.shared.gate.len(),
            is_full: self.shared.gate.is_full(),
            connections: self.shared.connections.load(Relaxed),
            reconnects: self.shared.reconnects.load(Relaxed),
        }
    }

    fn connected(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.done.cancelled() => Err(TransportError::Closed),
                () = self.closing.cancelled() => Err(TransportError::Closed),
                found = self.shared.wire() => found.map(drop).map_err(|_| TransportError::Closed),
            }
        })
    }

    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let shared = &self.shared;
        if !shared.gate.is_closed() {
            let served = shared.take_served();
            shared.gate.close();
            let (closing, done) = (self.closing.clone(), self.done.clone());
            let (closed, end) = (Arc::clone(shared), shared.end.clone());
            shared.spawn("bus_nats_close", CancellationToken::new(), async move {
                let finish = async {
                    for served in served {
                        let _ = served.stop().await;
                    }
                    closed.gate.done().await;
                };
                let _ = tokio::time::timeout(deadline, finish).await;
                end.cancel();
                closing.cancel();
                done.cancelled().await;
            });
            shared.tasks.close();
        }
        Box::pin(shared.tasks.wait())
    }
}

impl Drop for NatsTransport {
    fn drop(&mut self) {
        self.shared.end.cancel();
        self.closing.cancel();
    }
}

impl fmt::Debug for NatsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("address", &self.shared.address.shown())
            .field("connected", &self.shared.connected.borrow().as_ref().map(drop))
            .finish_non_exhaustive()
    }
}

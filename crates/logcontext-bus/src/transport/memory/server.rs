//! One bus that serves one RPC.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::connection::Shared;
use super::pump::{self, Moved, Pump, Pumped};
use super::queue::Queue;
use crate::transport::{Doing, Inbox, Incoming, Lane, ReplyTo, Serve, Serving};

pub(super) struct Server {
    pub(super) id: u64,
    queue: Arc<Queue>,
    inbox: Arc<Inbox>,
    calls: mpsc::UnboundedSender<Incoming>,
    pump: Pump,
    lanes: [LaneState; 2],
    runtime: Handle,
}

struct LaneState {
    /// Changed under the lock of the queue.
    is_open: AtomicBool,
    /// So many calls were given to it and are not in the channel yet.
    sending: AtomicUsize,
    sent: Notify,
}

/// A call that is about to be in the channel, until this is dropped.
pub(super) struct Sending<'a>(&'a LaneState);

impl Server {
    pub(super) fn takes(&self, lane: Lane) -> bool {
        self.lane(lane).is_open.load(SeqCst)
    }

    pub(super) fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.pump.try_slot()
    }

    /// Under the lock of the queue: from now on until this is dropped a stop waits.
    pub(super) fn begin(&self, lane: Lane) -> Sending<'_> {
        self.lane(lane).sending.fetch_add(1, SeqCst);
        Sending(self.lane(lane))
    }

    /// # Errors
    /// The call, if nobody will ever take it.
    pub(super) fn hand(&self, call: Incoming) -> Result<(), Incoming> {
        self.calls.send(call).map_err(|back| back.0)
    }

    pub(super) fn cancelled(&self, from: &ReplyTo) {
        self.inbox.cancelled(from);
    }

    /// Nobody takes its calls any more.
    pub(super) fn end(&self) {
        self.pump.end();
    }

    /// By the clock of its own runtime, which a test may have stopped.
    pub(super) fn now(&self) -> Instant {
        let _entered = self.runtime.enter();
        Instant::now()
    }

    fn lane(&self, lane: Lane) -> &LaneState {
        &self.lanes[usize::from(lane == Lane::Nested)]
    }

    async fn close(&self, lane: Lane) {
        let state = self.lane(lane);
        self.queue.change(|| state.is_open.store(false, SeqCst));
        loop {
            let sent = state.sent.notified();
            if state.sending.load(SeqCst) == 0 {
                return;
            }
            sent.await;
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.0.sending.fetch_sub(1, SeqCst) == 1 && !self.0.is_open.load(SeqCst) {
            self.0.sent.notify_waiters();
        }
    }
}

impl LaneState {
    fn open() -> Self {
        Self { is_open: AtomicBool::new(true), sending: AtomicUsize::new(0), sent: Notify::new() }
    }
}

impl Pumped for Server {
    fn pump(&self) -> &Pump {
        &self.pump
    }

    fn move_one(&self, slot: OwnedSemaphorePermit) -> Moved {
        self.queue.move_one(self, slot)
    }
}

/// The handle of a server, which lives as long.
pub(super) struct Served {
    pub(super) server: Arc<Server>,
    shared: Arc<Shared>,
}

impl Served {
    pub(super) fn start(shared: &Arc<Shared>, wish: Serve) -> Arc<Self> {
        let queue = shared.space.queues.get_or_insert(&wish.rpc, Queue::default);
        let server = Arc::new(Server {
            id: shared.space.next_id(),
            queue: Arc::clone(&queue),
            inbox: Arc::clone(&shared.client.inbox),
            calls: wish.calls,
            pump: Pump::new(wish.slots),
            lanes: [LaneState::open(), LaneState::open()],
            runtime: shared.runtime.clone(),
        });
        queue.add(&server);
        Arc::new(Self { server, shared: Arc::clone(shared) })
    }

    /// As if its process had died.
    pub(super) fn die(&self) {
        // Its pump may be running elsewhere: from here on it finds nothing.
        self.server
            .queue
            .change(|| self.server.lanes.iter().for_each(|lane| lane.is_open.store(false, SeqCst)));
        pump::stop_now(&self.server);
        self.server.queue.remove(self.server.id);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.die();
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("id", &self.server.id).finish_non_exhaustive()
    }
}

impl Serving for Served {
    fn stop_first(&self) -> Doing<'_, ()> {
        Box::pin(async {
            self.server.close(Lane::First).await;
            pump::stop(&self.server).await;
            self.server.queue.tell_unserved();
            self.shared.check()
        })
    }

    fn stop(&self) -> Doing<'_, ()> {
        Box::pin(async {
            self.stop_first().await?;
            self.server.close(Lane::Nested).await;
            self.shared.check()
        })
    }
}

//! One consumer of one group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::connection::Shared;
use super::pump::{Moved, Pump, Pumped};
use super::stream::{Group, Stream};
use crate::transport::{Delivery, Subscribe};

pub(super) struct Consumer {
    pub(super) id: u64,
    pub(super) group: Arc<str>,
    pub(super) with_retried: bool,
    /// Sorted.
    pub(super) partitions: Box<[u16]>,
    /// Which partition it reads first next time.
    rotate: AtomicUsize,
    pub(super) claim_after: Duration,
    pub(super) stream: Arc<Stream>,
    deliveries: mpsc::UnboundedSender<Delivery>,
    pump: Pump,
    runtime: Handle,
    /// Somebody has come to its group, or has gone.
    pub(super) others: Notify,
    /// It is given nothing more. Changed and looked at under the lock of the stream: its pump may be running elsewhere.
    pub(super) is_out: AtomicBool,
}

impl Consumer {
    pub(super) fn new(shared: &Shared, wish: Subscribe) -> Self {
        let mut partitions = wish.partitions;
        partitions.sort_unstable();
        partitions.dedup();
        Self {
            id: shared.space.next_id(),
            stream: shared.space.stream(&wish.event),
            group: wish.group,
            with_retried: wish.with_retried,
            partitions: partitions.into(),
            rotate: AtomicUsize::new(0),
            claim_after: wish.claim_after,
            deliveries: wish.deliveries,
            pump: Pump::new(wish.slots),
            runtime: shared.runtime.clone(),
            others: Notify::new(),
            is_out: AtomicBool::new(false),
        }
    }

    pub(super) fn reads(&self, partition: u16) -> bool {
        self.partitions.binary_search(&partition).is_ok()
    }

    /// Its partitions, each first in its turn.
    pub(super) fn next_partitions(&self) -> impl Iterator<Item = u16> + '_ {
        let from = match self.partitions.len() {
            0 | 1 => 0,
            count => self.rotate.fetch_add(1, Relaxed) % count,
        };
        let (before, after) = self.partitions.split_at(from);
        after.iter().chain(before).copied()
    }

    /// By the clock of its own runtime, which a test may have stopped.
    pub(super) fn now(&self) -> Instant {
        let _entered = self.runtime.enter();
        Instant::now()
    }

    pub(super) fn with_group<R>(&self, f: impl FnOnce(&mut Group) -> R) -> Option<R> {
        self.stream.lock().groups.get_mut(&*self.group).map(f)
    }
}

impl Pumped for Consumer {
    fn pump(&self) -> &Pump {
        &self.pump
    }

    fn move_one(&self, slot: OwnedSemaphorePermit) -> Moved {
        let Some((id, given, more)) = self.stream.lock().give(self) else { return Moved::Nothing };
        let (message, at, deliveries) = (given.entry.message, given.entry.at, given.deliveries);
        if self.deliveries.send(Delivery { id, message, deliveries, at, slot }).is_err() {
            // Nobody will ever take it from there.
            self.pump.end();
            self.stream.leave(self);
            return Moved::Nothing;
        }
        if more { Moved::OneOfMore } else { Moved::Last }
    }
}

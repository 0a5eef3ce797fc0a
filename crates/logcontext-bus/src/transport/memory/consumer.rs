//! One consumer of one group.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use logcontext::{ContextKind, FutureExt, LogContext};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connection::Shared;
use super::pump::{self, Moved, Pump, Pumped};
use super::stream::{Group, Stream};
use crate::transport::{DeadLetter, Delivery, DeliveryId, Doing, Subscribe, Subscription};

pub(super) struct Consumer {
    pub(super) id: u64,
    pub(super) group: Arc<str>,
    pub(super) with_retried: bool,
    /// Sorted.
    partitions: Box<[u16]>,
    /// Which partition it reads first next time.
    rotate: AtomicUsize,
    claim_after: Duration,
    stream: Arc<Stream>,
    deliveries: mpsc::UnboundedSender<Delivery>,
    pump: Pump,
    runtime: Handle,
    /// Somebody has come to its group, or has gone.
    others: Notify,
    /// It is given nothing more. Changed and looked at under the lock of the stream: its pump may be running elsewhere.
    pub(super) is_out: AtomicBool,
}

impl Consumer {
    pub(super) fn reads(&self, partition: u16) -> bool {
        self.partitions.binary_search(&partition).is_ok()
    }

    pub(super) fn reads_several(&self) -> bool {
        self.with_retried || self.partitions.len() > 1
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

    fn with_group<R>(&self, f: impl FnOnce(&mut Group) -> R) -> Option<R> {
        self.stream.lock().groups.get_mut(&*self.group).map(f)
    }

    /// Takes from others what they have not renewed, for ever.
    async fn sweep(self: Arc<Self>) {
        loop {
            let others = self.others.notified();
            let now = Instant::now();
            let found = self.with_group(|group| self.claim(group, now));
            if found.is_some_and(|(claimed, _)| claimed) {
                self.stream.kick_group(&self.group);
            }
            // Alone there is nobody to take from.
            match found.and_then(|(_, next)| next) {
                Some(next) => tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = others => {}
                },
                None => others.await,
            }
        }
    }

    /// Whether there was something, and when to look again.
    fn claim(&self, group: &mut Group, now: Instant) -> (bool, Option<Instant>) {
        if group.members.consumers.iter().all(|other| other.id == self.id) {
            return (false, None);
        }
        let (mut claimed, mut next) = (false, now + self.claim_after);
        let retrying = self.with_retried.then_some(&mut group.retrying);
        let read = group.cursors.iter_mut().filter(|(partition, _)| self.reads(**partition));
        for cursor in read.map(|(_, cursor)| cursor).chain(retrying) {
            claimed |= cursor
                .take_back(|pending| pending.consumer != self.id && now >= pending.since + self.claim_after);
            let held = cursor
                .pending
                .iter()
                .filter(|(id, had)| had.consumer != self.id && !cursor.returned.contains(id));
            next = held.map(|(_, had)| had.since + self.claim_after).fold(next, Instant::min);
        }
        (claimed, Some(next))
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

/// The handle of a consumer, which lives as long.
pub(super) struct Subscribed {
    pub(super) consumer: Arc<Consumer>,
    shared: Arc<Shared>,
    sweep: AbortHandle,
}

impl Subscribed {
    /// Begins.
    pub(super) fn start(shared: &Arc<Shared>, wish: Subscribe) -> Arc<Self> {
        let stream = shared.space.stream(&wish.event);
        let mut partitions = wish.partitions;
        partitions.sort_unstable();
        partitions.dedup();
        let consumer = Arc::new(Consumer {
            id: shared.space.next_id(),
            group: wish.group,
            with_retried: wish.with_retried,
            partitions: partitions.into(),
            rotate: AtomicUsize::new(0),
            claim_after: wish.claim_after,
            stream: Arc::clone(&stream),
            deliveries: wish.deliveries,
            pump: Pump::new(wish.slots),
            runtime: shared.runtime.clone(),
            others: Notify::new(),
            is_out: AtomicBool::new(false),
        });
        let others = {
            let mut state = stream.lock();
            let group = state.group(&consumer.group, wish.since);
            if wish.is_leased {
                for partition in &consumer.partitions {
                    let cursor = group.cursors.entry(*partition).or_default();
                    cursor.take_back(|_| true);
                    cursor.leased_to = Some(consumer.id);
                }
            }
            group.set_members(|consumers| consumers.push(Arc::clone(&consumer)));
            let members = Arc::clone(&group.members);
            state.gather_members();
            members
        };
        for other in &others.consumers {
            other.others.notify_one();
        }
        let name = format!("bus.claim-{}-{}", wish.event, consumer.group);
        let context = LogContext::builder(name).kind(ContextKind::Background).supervisor(&shared.supervisor);
        let context = context.start();
        let sweep = Arc::clone(&consumer).sweep().in_context(context);
        #[expect(
            clippy::disallowed_methods,
            reason = "outlives a shutdown of the supervisor, in a context of its own"
        )]
        let sweep = shared.runtime.spawn(sweep).abort_handle();
        pump::kick(&consumer);
        Arc::new(Self { consumer, shared: Arc::clone(shared), sweep })
    }

    /// As if its process had died.
    pub(super) fn die(&self) {
        self.sweep.abort();
        pump::stop_now(&self.consumer);
        self.consumer.stream.leave(&self.consumer);
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.die();
    }
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("group", &self.consumer.group)
            .field("partitions", &self.consumer.partitions)
            .finish_non_exhaustive()
    }
}

impl Subscription for Subscribed {
    fn acknowledge(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        self.shared.doing(move || {
            self.consumer.with_group(|group| {
                for id in ids {
                    group.done(id);
                }
            });
            Ok(())
        })
    }

    fn renew(&self, ids: Vec<DeliveryId>) -> Doing<'_, Vec<DeliveryId>> {
        self.shared.doing(move || {
            let now = self.consumer.now();
            let by = self.consumer.id;
            let renew = |group: &mut Group, id: &DeliveryId| {
                let Some(cursor) = group.cursor(id.partition).filter(|cursor| cursor.is_held(id.id, by))
                else {
                    return false;
                };
                cursor.pending.entry(id.id).and_modify(|pending| pending.since = now);
                true
            };
            let lost = |group: &mut Group| ids.iter().copied().filter(|id| !renew(group, id)).collect();
            Ok(self.consumer.with_group(lost).unwrap_or_default())
        })
    }

    fn release(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        self.shared.doing(move || {
            let by = self.consumer.id;
            self.consumer.with_group(|group| {
                for id in ids {
                    if let Some(cursor) =
                        group.cursor(id.partition).filter(|cursor| cursor.is_held(id.id, by))
                    {
                        cursor.returned.insert(id.id);
                    }
                }
            });
            self.consumer.stream.kick_group(&self.consumer.group);
            Ok(())
        })
    }

    fn bury(&self, id: DeliveryId, letter: DeadLetter) -> Doing<'_, ()> {
        self.shared.doing(move || {
            let mut state = self.consumer.stream.lock();
            let group = state.groups.get_mut(&*self.consumer.group);
            if group.is_some_and(|group| group.done(id)) {
                let (letter_id, at) = state.mint();
                state.letters.insert(letter_id, (at, letter));
            }
            Ok(())
        })
    }

    fn stop(&self) -> Doing<'_, ()> {
        Box::pin(async {
            self.sweep.abort();
            pump::stop(&self.consumer).await;
            self.consumer.stream.read_no_more(&self.consumer);
            self.shared.check()
        })
    }
}

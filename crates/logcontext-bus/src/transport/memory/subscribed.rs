//! The handle of a consumer.

use std::fmt;
use std::sync::Arc;

use logcontext::{ContextKind, FutureExt, LogContext};
use tokio::task::AbortHandle;

use super::connection::Shared;
use super::consumer::Consumer;
use super::pump;
use super::stream::Group;
use crate::transport::{DeadLetter, DeliveryId, Doing, Subscribe, Subscription};

/// The handle of a consumer, which lives as long.
pub(super) struct Subscribed {
    pub(super) consumer: Arc<Consumer>,
    shared: Arc<Shared>,
    sweep: AbortHandle,
}

impl Subscribed {
    /// Begins.
    pub(super) fn start(shared: &Arc<Shared>, wish: Subscribe) -> Arc<Self> {
        let (is_leased, since) = (wish.is_leased, wish.since);
        let name = format!("bus.claim-{}-{}", wish.event, wish.group);
        let consumer = Arc::new(Consumer::new(shared, wish));
        let others = {
            let mut state = consumer.stream.lock();
            let group = state.group(&consumer.group, since);
            if is_leased {
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

    /// Others may have these, as if they had been delivered so many times fewer.
    fn let_go(&self, ids: Vec<DeliveryId>, fewer: u32) -> Doing<'_, ()> {
        self.shared.doing(move || {
            let by = self.consumer.id;
            self.consumer.with_group(|group| {
                for id in ids {
                    let cursor = group.cursor(id.partition).filter(|cursor| cursor.is_held(id.id, by));
                    let Some(cursor) = cursor else { continue };
                    cursor.returned.insert(id.id);
                    if let Some(pending) = cursor.pending.get_mut(&id.id) {
                        pending.deliveries = pending.deliveries.saturating_sub(fewer);
                    }
                }
            });
            self.consumer.stream.kick_group(&self.consumer.group);
            Ok(())
        })
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
        self.let_go(ids, 0)
    }

    fn give_back(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        self.let_go(ids, 1)
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

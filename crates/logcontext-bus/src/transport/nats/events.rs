//! Carries events: a stream for each, a consumer for each group and partition.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::DropGuard;

use super::failure::Failure;
use super::gate::Kind;
use super::hands::{Hand, Hands};
use super::js;
use super::reader::Reader;
use super::reading::keep_reading;
use super::shared::Shared;
use super::stopping::Stopping;
use super::times::Times;
use super::wire::Ask;
use super::{NatsTransport, letters};
use crate::transport::{
    DeadLetter, DeliveryId, Doing, EventId, EventTransport, Publish, Subscribe, Subscription,
};

impl EventTransport for NatsTransport {
    fn publish(&self, event: Publish) -> Doing<'_, EventId> {
        let Publish { event, partition, message } = event;
        let shared = &self.shared;
        Box::pin(async move {
            let (_under_way, wire) = shared.enter_with_wire(Kind::Events).await?;
            let store = js::store(shared.names.partition(event, partition), message.to_frame());
            let sequence = shared.store_by(&wire, &shared.events_stream(event), &store).await?;
            Ok(EventId(sequence, 0))
        })
    }

    fn subscribe(&self, wish: Subscribe) -> Doing<'_, Arc<dyn Subscription>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let under_way = shared.enter(Kind::Upkeep).await?;
            make_groups(&shared, &wish, wish.since).await?;
            drop(under_way);
            let end = shared.end.child_token();
            let consumer = Consumer {
                event: Arc::clone(&wish.event),
                group: Arc::clone(&wish.group),
                hands: Hands::new(&shared.identity, wish.claim_after),
                stopping: Stopping::default(),
                _end: end.clone().drop_guard(),
                shared: Arc::clone(&shared),
            };
            let reader = Reader::new(
                Arc::clone(&shared),
                wish,
                consumer.stopping.clone(),
                Arc::clone(&consumer.hands),
            );
            let reading = keep_reading(Arc::clone(&shared), consumer.stopping.clone(), reader);
            shared.spawn("bus_nats_events", end, reading);
            Ok(Arc::new(consumer) as Arc<dyn Subscription>)
        })
    }
}

/// Makes the consumers of a group where there are none, until the broker has said so.
pub(super) async fn make_groups(
    shared: &Shared,
    wish: &Subscribe,
    since: crate::transport::Since,
) -> Result<(), Failure> {
    for partition in partitions(wish) {
        let make = || shared.make_group(&wish.event, &wish.group, partition, since, wish.claim_after);
        while let Err(failure) = make().await {
            if !matches!(failure, Failure::Lost(_)) {
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// All that is wished for.
pub(super) fn partitions(wish: &Subscribe) -> impl Iterator<Item = u16> {
    wish.partitions.iter().copied().chain(wish.with_retried.then_some(DeliveryId::RETRIED))
}

/// One consumer of one group.
struct Consumer {
    event: Arc<str>,
    group: Arc<str>,
    hands: Arc<Hands>,
    stopping: Stopping,
    _end: DropGuard,
    shared: Arc<Shared>,
}

impl Consumer {
    /// Says the same of each, and waits until the broker has heard it all.
    async fn say(&self, hands: &[(DeliveryId, Hand)], what: &'static str) -> Result<(), Failure> {
        let _under_way = self.shared.enter(Kind::Upkeep).await?;
        loop {
            match self.say_once(hands, what).await {
                Err(Failure::Lost(_)) => {}
                said => return said,
            }
        }
    }

    async fn say_once(&self, hands: &[(DeliveryId, Hand)], what: &'static str) -> Result<(), Failure> {
        let wire = self.shared.wire().await?;
        for (at, (id, hand)) in hands.iter().enumerate() {
            // The broker hears them in order, for each partition by itself.
            let is_last = hands[at + 1..].iter().all(|(later, _)| later.partition != id.partition);
            let subject = hand.ack.subject.clone();
            if is_last {
                let ask = Ask { subject, headers: None, payload: what.into() };
                tokio::select! {
                    biased;
                    () = self.shared.end.cancelled() => return Err(Failure::Closed),
                    said = wire.ask(&ask) => match said {
                        // There is no such consumer any more: nobody has it.
                        Err(Failure::Nobody) | Ok(_) => {}
                        Err(failure) => return Err(failure),
                    },
                }
            } else {
                wire.tell(subject, what).await?;
            }
        }
        Ok(())
    }

    /// Forgets how often these have come.
    fn settle_accounts(&self, hands: &[(DeliveryId, Hand)]) {
        let names = &self.shared.names;
        for (id, _) in hands.iter().filter(|(_, hand)| hand.is_written_down()) {
            let subject = names.times(&self.event, &self.group, *id);
            self.shared.leftovers.ask(js::purge(&names.kept(), Some(&subject), None));
        }
    }

    async fn let_go(&self, hands: Vec<(DeliveryId, Hand)>) -> Result<(), Failure> {
        // Where this one is about to read nothing more, it is not to get it again.
        self.stopping.settled(&self.shared).await?;
        self.say(&hands, "-NAK").await?;
        hands.iter().for_each(|(id, hand)| self.hands.remove(*id, hand));
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        if self.shared.gate.is_closed() { Err(Failure::Closed) } else { Ok(()) }
    }
}

impl Subscription for Consumer {
    fn acknowledge(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(async move {
            self.check()?;
            let hands = self.hands.own(&ids);
            self.say(&hands, "+ACK").await?;
            for (id, hand) in &hands {
                self.hands.done(*id, hand);
            }
            self.settle_accounts(&hands);
            Ok(())
        })
    }

    fn renew(&self, ids: Vec<DeliveryId>) -> Doing<'_, Vec<DeliveryId>> {
        Box::pin(async move {
            self.check()?;
            let (since, hands) = (Instant::now(), self.hands.own(&ids));
            self.say(&hands, "+WPI").await?;
            // What was said of them until then is heard.
            let hands: Vec<_> = self.hands.own(&hands.iter().map(|(id, _)| *id).collect::<Vec<_>>());
            self.hands.renewed(&hands, since);
            Ok(ids.into_iter().filter(|id| !hands.iter().any(|(own, _)| own == id)).collect())
        })
    }

    fn release(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(async move {
            self.check()?;
            Ok(self.let_go(self.hands.own(&ids)).await?)
        })
    }

    fn give_back(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(async move {
            self.check()?;
            let under_way = self.shared.enter(Kind::Upkeep).await?;
            let hands = self.hands.own(&ids);
            for (id, hand) in &hands {
                let subject = self.shared.names.times(&self.event, &self.group, *id);
                let times = Times { times: hand.times.saturating_sub(1), nanos: hand.ack.nanos };
                let store = js::store(subject, times.to_string());
                self.shared.settle_store(&self.shared.kept_stream(), &store).await?;
            }
            drop(under_way);
            Ok(self.let_go(hands).await?)
        })
    }

    fn bury(&self, id: DeliveryId, letter: DeadLetter) -> Doing<'_, ()> {
        Box::pin(async move {
            self.check()?;
            let hands = self.hands.own(&[id]);
            let [(_, hand)] = &hands[..] else { return Ok(()) };
            let under_way = self.shared.enter(Kind::Upkeep).await?;
            // Where this is told twice, it is kept once.
            let once = format!("{}/{}/{}/{}", self.group, id.partition, id.id.0, hand.ack.nanos);
            let store = letters::store(&self.shared.names.dead_letters(&self.event), &letter, &once);
            self.shared.settle_store(&self.shared.dead_stream(&self.event), &store).await?;
            drop(under_way);
            self.say(&hands, "+ACK").await?;
            self.hands.done(id, hand);
            self.settle_accounts(&hands);
            Ok(())
        })
    }

    fn stop(&self) -> Doing<'_, ()> {
        Box::pin(async move { Ok(self.stopping.stop(&self.shared).await?) })
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("event", &self.event)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

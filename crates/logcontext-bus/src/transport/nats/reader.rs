//! Reads events for one consumer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message as Raw;

use super::ack::{self, Ack};
use super::events::{make_groups, partitions};
use super::failure::Failure;
use super::hands::{Hand, Hands};
use super::js::{self, ConsumerInfo};
use super::names;
use super::pulling::{Feed, Got, Pulling, Slot};
use super::reading::{End, Reads};
use super::shared::Shared;
use super::stopping::Stopping;
use super::times::Times;
use super::wire::{Ask, Wire};
use crate::transport::{Delivery, DeliveryId, EventId, Message, Since, Subscribe};

/// At the latest after so long it is looked for what others have left.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Reader {
    shared: Arc<Shared>,
    wish: Subscribe,
    stopping: Stopping,
    hands: Arc<Hands>,
    /// As the feeds are counted
    partitions: Vec<u16>,
    /// Leased partitions that are still to be taken over
    takeover: Vec<u16>,
    /// Are the consumers of the group known to be there?
    is_made: bool,
}

impl Reads for Reader {
    async fn read_all(&mut self, wire: Arc<Wire>) -> End {
        let deliveries = self.wish.deliveries.clone();
        let closed = async {
            deliveries.closed().await;
            End::Stopped
        };
        tokio::select! {
            biased;
            end = closed => end,
            end = self.read_on(wire) => match end {
                Err(end) => end,
            },
        }
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, wish: Subscribe, stopping: Stopping, hands: Arc<Hands>) -> Self {
        let partitions: Vec<u16> = partitions(&wish).collect();
        let takeover = if wish.is_leased { wish.partitions.clone() } else { Vec::new() };
        Self { shared, wish, stopping, hands, partitions, takeover, is_made: true }
    }

    async fn read_on(&mut self, wire: Arc<Wire>) -> Result<Infallible, End> {
        let names = &self.shared.names;
        let (event, group) = (Arc::clone(&self.wish.event), Arc::clone(&self.wish.group));
        if !self.is_made {
            // A broker that has lost its groups is given them again. All that is there was fired since.
            make_groups(&self.shared, &self.wish, Since::Start).await?;
        }
        self.is_made = false;
        self.hands.hear_by(wire.hear(names.taken(&event, &group)).await?);
        let is_one = self.wish.partitions.len() == 1;
        let bell = if is_one { None } else { Some(wire.hear(names.bell(&event, "*")).await?) };
        let bell_prefix = names.bell(&event, "").len();
        let feeds = self.partitions.iter().map(|partition| {
            let (stream, _) = self.shared.feed(&event, &group, *partition);
            Feed::new(stream, names::consumer(&group, *partition), *partition == DeliveryId::RETRIED)
        });
        let inbox = names.own(&self.shared.identity, &format!("pull{:016x}", fastrand::u64(..)));
        let look = (self.wish.claim_after / 4).min(LOOK);
        let (slots, stopping) = (Some(Arc::clone(&self.wish.slots)), self.stopping.clone());
        let mut pulling =
            Pulling::begin(Arc::clone(&wire), inbox, bell, feeds.collect(), slots, stopping, look).await?;
        self.acknowledge_again(&wire).await?;
        while let Some(partition) = self.takeover.last().copied() {
            self.take_over(&wire, partition).await?;
            self.takeover.pop();
        }
        loop {
            match pulling.next().await? {
                Got::Message { feed, ack, message, slot } => {
                    self.deliver(pulling.wire(), self.partitions[feed], ack, message, slot).await?;
                }
                Got::Bell(message) => {
                    let partition =
                        message.subject.get(bell_prefix..).and_then(|text| text.parse::<u16>().ok());
                    if let Some(feed) = self.partitions.iter().position(|own| Some(*own) == partition) {
                        pulling.ring(feed);
                    }
                }
                Got::Nothing if self.wish.is_leased => {
                    for (feed, partition) in self.partitions.iter().enumerate() {
                        pulling.feeds[feed].is_over = self.hands.is_taken(*partition);
                    }
                }
                Got::Nothing => {}
            }
        }
    }

    /// A broker that was killed may have forgotten what it had acknowledged just before.
    async fn acknowledge_again(&self, wire: &Wire) -> Result<(), Failure> {
        let mut late = self.hands.take_late();
        let Some((_, last)) = late.pop_back() else { return Ok(()) };
        for (_, subject) in late {
            wire.tell(subject, "+ACK").await?;
        }
        match wire.ask(&Ask { subject: last, headers: None, payload: "+ACK".into() }).await {
            Err(failure) if failure != Failure::Nobody => Err(failure),
            _ => Ok(()),
        }
    }

    /// What others have of a leased partition in their hands is ours, in order, before anything new.
    async fn take_over(&self, wire: &Wire, partition: u16) -> Result<(), Failure> {
        let Subscribe { event, group, .. } = &self.wish;
        let (stream, _) = self.shared.feed(event, group, partition);
        let consumer = names::consumer(group, partition);
        let info: ConsumerInfo = js::read(&wire.ask(&js::consumer_info(&stream, &consumer)).await?)?;
        let (done, last) = (info.ack_floor.stream_seq, info.delivered.stream_seq);
        let notice = self.hands.notice_of_all(partition, last);
        wire.tell(self.shared.names.taken(event, group), notice).await?;
        if info.num_ack_pending == 0 {
            return Ok(());
        }
        // The broker does not say which they are; of what nobody has it takes no notice.
        for sequence in done + 1..=last {
            let subject = ack::of_another(&stream, &consumer, sequence, info.delivered.consumer_seq);
            if sequence < last {
                wire.tell(subject, "-NAK").await?;
            } else {
                wire.ask(&Ask { subject, headers: None, payload: "-NAK".into() }).await?;
            }
        }
        Ok(())
    }

    async fn deliver(
        &self,
        wire: &Wire,
        partition: u16,
        ack: Ack,
        message: Raw,
        slot: Slot,
    ) -> Result<(), End> {
        let id = DeliveryId { partition, id: EventId(ack.sequence, 0) };
        if self.hands.was_done(id, ack.nanos) {
            // The broker has forgotten that.
            wire.tell(ack.subject, "+ACK").await?;
            return Ok(());
        }
        let Some(slot) = slot else {
            wire.tell(ack.subject, "-NAK").await?;
            return Ok(());
        };
        let times = if ack.deliveries > 1 {
            match self.take(wire, id, &ack).await {
                Ok(times) => times,
                Err(failure) => {
                    let _ = wire.tell(ack.subject, "-NAK").await;
                    return Err(failure.into());
                }
            }
        } else {
            1
        };
        let at = ack.at();
        self.hands.put(id, Hand::new(ack, times));
        let delivery = Delivery {
            id,
            // What others have put into the stream is a message too: a bad one.
            message: Message::from_frame(message.payload),
            deliveries: u32::try_from(times).unwrap_or(u32::MAX),
            at,
            slot,
        };
        self.wish.deliveries.send(delivery).map_err(|_| End::Stopped)
    }

    /// Tells the others that it is ours now. Answers how often it has come to somebody: the broker does not know, it counts
    /// what it would have brought if somebody had asked just then, and what has reached nobody.
    async fn take(&self, wire: &Wire, id: DeliveryId, ack: &Ack) -> Result<u64, Failure> {
        let (names, Subscribe { event, group, .. }) = (&self.shared.names, &self.wish);
        wire.tell(names.taken(event, group), self.hands.notice(id, ack.deliveries)).await?;
        // Once this is answered, the broker has told them.
        let subject = names.times(event, group, id);
        let found = self.shared.last(wire, &subject).await?;
        let found = found.and_then(|found| Times::parse(std::str::from_utf8(&found.payload).ok()?));
        let times = Times::next(found, ack.nanos);
        // It is known before it is handled: should that kill the process, it is known to have come.
        let store = js::store(subject, times.to_string());
        self.shared.store_by(wire, &self.shared.kept_stream(), &store).await?;
        Ok(times.times)
    }
}

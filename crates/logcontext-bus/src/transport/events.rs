//! Carrying events.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::kept::DeadLetter;
use super::{Doing, Message};

/// Where an event is in its stream. Later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64, pub u64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl std::str::FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').and_then(|(a, b)| Some(Self(a.parse().ok()?, b.parse().ok()?)));
        parts.ok_or_else(|| "expected the id of an event, such as 1795382400123-0".to_owned())
    }
}

/// An event to store.
#[derive(Clone, Debug)]
pub struct Publish {
    /// What it is called.
    pub event: &'static str,
    /// The partition it goes to.
    pub partition: u16,
    /// The event.
    pub message: Message,
}

/// Where a new group begins. One that is known goes on where it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Since {
    /// With what is fired from now on.
    #[default]
    Now,
    /// With the oldest that is kept.
    Start,
}

/// A wish for events.
#[derive(Debug)]
pub struct Subscribe {
    /// Which.
    pub event: Arc<str>,
    /// For which group: each event goes to one consumer of it.
    pub group: Arc<str>,
    /// Of which partitions.
    pub partitions: Vec<u16>,
    /// These partitions are leased to this consumer: whatever any other has of them in its hands is its own now, and comes
    /// first, in order.
    pub is_leased: bool,
    /// Dead letters of this group that are tried again come to this consumer as well.
    pub with_retried: bool,
    /// Where a new group begins.
    pub since: Since,
    /// What another consumer has not renewed for so long is its own no more.
    pub claim_after: Duration,
    /// One is taken for each event before it is read, and goes along with it.
    pub slots: Arc<Semaphore>,
    /// Where they go. It has room: there are no more than there are slots.
    pub deliveries: mpsc::UnboundedSender<Delivery>,
}

/// Which delivery it is: for the subscription that has brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The partition; [`RETRIED`](Self::RETRIED) for a dead letter that is tried again.
    pub partition: u16,
    /// Where it is in there.
    pub id: EventId,
}

impl DeliveryId {
    /// The partition of dead letters that are tried again.
    pub const RETRIED: u16 = u16::MAX;
}

/// An event that has come.
#[derive(Debug)]
pub struct Delivery {
    /// Which.
    pub id: DeliveryId,
    /// The event.
    pub message: Message,
    /// How often it has been delivered to this group, with this time.
    pub deliveries: u32,
    /// When the broker got it, by its own clock.
    pub at: SystemTime,
    /// Its slot.
    pub slot: OwnedSemaphorePermit,
}

/// Carries events: at least once to each group.
pub trait EventTransport: Send + Sync {
    /// Stores it, and answers where once the broker has it. After [`TransportError::Lost`](super::TransportError::Lost)
    /// nobody knows; the transport itself has not tried again.
    fn publish(&self, event: Publish) -> Doing<'_, EventId>;

    /// Does this refusal, as [`TransportError::Refused`](super::TransportError::Refused) has it, say something of the broker
    /// and not of the message: that its memory is full, or that it is still starting? Then it is worth another try however
    /// often it has come.
    fn is_passing(&self, refusal: &str) -> bool {
        let _ = refusal;
        false
    }

    /// Begins to listen: completes once the group is there, so that whatever is fired afterwards will come.
    fn subscribe(&self, wish: Subscribe) -> Doing<'_, Arc<dyn Subscription>>;
}

/// One consumer of one group. Who drops it without having stopped it is dead: what it had goes to others.
pub trait Subscription: fmt::Debug + Send + Sync {
    /// They are done. Tried until the broker has it.
    fn acknowledge(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()>;

    /// They are still being handled. Answers those that have become others' meanwhile.
    fn renew(&self, ids: Vec<DeliveryId>) -> Doing<'_, Vec<DeliveryId>>;

    /// They are not done and will not be, here: others may have them at once.
    fn release(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()>;

    /// The same for what was not begun here: it does not count as delivered, so that what comes and goes with its consumers
    /// is not taken for poison. Where a broker cannot take a delivery back, it is [released](Self::release).
    fn give_back(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        self.release(ids)
    }

    /// Nobody can do it: it becomes a dead letter, and is done, in one step.
    fn bury(&self, id: DeliveryId, letter: DeadLetter) -> Doing<'_, ()>;

    /// Brings nothing more. Completes when all that it has brought is in the channel; what is in there is still its own.
    fn stop(&self) -> Doing<'_, ()>;
}

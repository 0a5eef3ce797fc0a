//! What is known of an event besides what it says.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::message::{EventHead, Message, printable};
use crate::transport::{DeliveryId, EventId};

/// An event as it has come.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: DeliveryId,
    pub(super) head: EventHead,
    pub(super) message: Message,
    pub(super) deliveries: u32,
    pub(super) at: SystemTime,
}

/// What is known of an event besides what it says: a handler gets it if it takes a second argument.
#[derive(Clone)]
pub struct Delivered {
    pub(super) received: Arc<Received>,
    pub(super) attempt: u32,
}

impl Delivered {
    /// Where it is in its stream. A dead letter that is tried again may have another than it had.
    pub fn id(&self) -> EventId {
        self.received.id.id
    }

    /// What tells it from all other events, whichever broker has it: the same if it was sent twice, or comes twice.
    pub fn message_id(&self) -> Box<str> {
        printable(&self.received.head.id)
    }

    /// Its key, as whoever fired it has said.
    pub fn key(&self) -> Option<&str> {
        self.received.head.key.as_deref()
    }

    /// The bus that has fired it: its service, and a part that no other has.
    pub fn sender(&self) -> Box<str> {
        printable(&self.received.head.origin.sender)
    }

    /// When the broker got it, by its own clock.
    pub fn at(&self) -> SystemTime {
        self.received.at
    }

    /// How often it has been delivered to this listener's group, with this time. More than once: a process has died with
    /// it, or has left it for others.
    pub fn deliveries(&self) -> u32 {
        self.received.deliveries
    }

    /// Which try this is since it was delivered, from 1: see [`Retry`](super::Retry).
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Is it a dead letter that is tried again?
    pub fn is_retried_dead_letter(&self) -> bool {
        self.received.id.partition == DeliveryId::RETRIED
    }
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivered")
            .field("id", &self.id())
            .field("sender", &self.sender())
            .field("deliveries", &self.deliveries())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

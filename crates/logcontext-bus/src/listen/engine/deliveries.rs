//! Events that come.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;

use super::command::Did;
use super::order::Turn;
use super::part::Phase;
use super::{Engine, Held, State};
use crate::listen::delivered::Received;
use crate::listen::figures::count;
use crate::message::{EventHead, Message, WIRE, decode, printable};
use crate::transport::{DeadLetter, Delivery, DeliveryId};

/// Why an event is not handled at all.
enum Refused {
    Bad(String),
    Poison(String),
}

impl Engine {
    /// An event has come.
    pub(super) fn delivered(&mut self, delivery: Delivery) {
        let (id, index) = (delivery.id, self.part_of(delivery.id));
        if let Some(held) = self.held.get_mut(&id) {
            // It had become another's, or the broker thinks so: it is its own again, and goes on where it is.
            held.is_lost = false;
            return;
        }
        let Some(part) = self.parts.get_mut(index) else { return };
        if part.phase == Phase::Taking {
            // It was faster than the word that it may come.
            self.early.push(delivery);
            return;
        }
        if part.is_lost || part.subscription.is_none() {
            return;
        }
        if self.stopping.is_some() || part.phase != Phase::Open {
            self.give_back(id);
            return;
        }
        count(&self.shared.figures.delivered);
        part.held += 1;
        self.alarms.renew();
        let Delivery { message, deliveries, at, slot, .. } = delivery;
        let (head, refused) = self.head(&message, deliveries);
        let key = head.key.as_deref().filter(|_| self.shared.rules.is_ordered && refused.is_none());
        let lane = key.map(|key| self.lanes.of(key));
        let received = Arc::new(Received { id, head, message, deliveries, at });
        self.held.insert(
            id,
            Held {
                received,
                slot: Some(slot),
                state: State::Waiting,
                lane,
                attempts: 0,
                is_lost: false,
                handler: None,
            },
        );
        self.shared.figures.held.store(self.held.len() as u64, Relaxed);
        match refused {
            Some(refused) => self.refuse(id, refused),
            None => self.line_up(id, lane),
        }
    }

    /// Its turn is now, or after those of its key that are before it.
    fn line_up(&mut self, id: DeliveryId, lane: Option<u64>) {
        let turn = match lane {
            Some(lane) => {
                let held = &self.held;
                let has_begun =
                    |id| held.get(&id).is_none_or(|held| held.state != State::Ready || held.attempts > 0);
                self.lanes.join(lane, id, has_begun)
            }
            None => Turn::Now,
        };
        match turn {
            Turn::Later => return,
            Turn::Now => {}
            Turn::InsteadOf(later) => {
                self.held.entry(later).and_modify(|held| held.state = State::Waiting);
            }
        }
        self.make_ready(id);
    }

    /// It is its turn.
    pub(super) fn make_ready(&mut self, id: DeliveryId) {
        if let Some(held) = self.held.get_mut(&id) {
            held.state = State::Ready;
            self.ready.push_back(id);
        }
    }

    /// The head, and why the event is not handled, if it is not.
    fn head(&self, message: &Message, deliveries: u32) -> (EventHead, Option<Refused>) {
        let limit = self.shared.inner.config.max_message;
        if message.len() > limit {
            let why = format!("is {} bytes long: expected at most {limit}", message.len());
            let head = if message.head.len() <= limit { &*message.head } else { &[] };
            return (whatever_head(head), Some(Refused::Bad(why)));
        }
        let head: EventHead = match decode(&message.head) {
            Ok(head) => head,
            Err(why) => {
                let why = format!("its head: {why}");
                return (whatever_head(&message.head), Some(Refused::Bad(why)));
            }
        };
        let refused = self.refused(&head, deliveries);
        (head, refused)
    }

    fn refused(&self, head: &EventHead, deliveries: u32) -> Option<Refused> {
        let (shared, most) = (&self.shared, self.shared.rules.max_deliveries);
        let why = if head.wire != WIRE {
            format!("its wire is of version {}: expected {WIRE}", head.wire)
        } else if *head.event != *shared.event {
            format!("is called {}: expected {}", head.event, shared.event)
        } else if head.version != shared.version {
            format!("is of version {}: expected {}", head.version, shared.version)
        } else if deliveries > most {
            let why = format!("was delivered {deliveries} times and never done: expected at most {most}");
            return Some(Refused::Poison(why));
        } else {
            return None;
        };
        Some(Refused::Bad(why))
    }

    fn refuse(&mut self, id: DeliveryId, refused: Refused) {
        let (why, what) = match refused {
            Refused::Bad(why) => {
                count(&self.shared.figures.bad);
                (why, "cannot be read: it is a dead letter now")
            }
            Refused::Poison(why) => {
                count(&self.shared.figures.poison);
                (why, "whoever handled it has died or left it: it is a dead letter now")
            }
        };
        let why = printable(&why);
        let Some(held) = self.held.get(&id) else { return };
        tracing::error!(
            target: "logcontext::bus",
            event = self.shared.event,
            listener = &*self.shared.listener,
            id = %id.id,
            sender = &*printable(&held.received.head.origin.sender),
            deliveries = held.received.deliveries,
            error = &*why,
            "{what}",
        );
        self.bury(id, why.into());
    }

    /// It becomes a dead letter, and is done, in one step.
    pub(super) fn bury(&mut self, id: DeliveryId, reason: String) {
        let index = self.part_of(id);
        let Some(held) = self.held.get_mut(&id) else { return };
        let Some(subscription) = self.parts[index].subscription.clone() else { return };
        held.state = State::Burying;
        self.parts[index].busy += 1;
        self.must += 1;
        let letter = DeadLetter {
            group: Arc::clone(&self.shared.group),
            reason,
            deliveries: held.received.deliveries,
            message: held.received.message.clone(),
        };
        self.commands.push(Box::pin(async move {
            Did::Bury { part: index, id, answer: subscription.bury(id, letter).await }
        }));
    }
}

/// What can be told of a head that is none: who has sent it, perhaps.
#[cold]
fn whatever_head(json: &[u8]) -> EventHead {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let sender = value.pointer("/from/sender").and_then(Value::as_str).unwrap_or("unknown");
    EventHead {
        wire: 0,
        event: "".into(),
        version: 0,
        id: "".into(),
        key: None,
        origin: crate::message::Origin { sender: sender.into(), ..Default::default() },
    }
}

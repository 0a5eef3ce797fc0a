//! What is done at some time: claims renewed, handlers tried again, leases kept or given up.

use std::cmp::Reverse;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::command::Did;
use super::{Engine, State};
use crate::transport::{DeliveryId, TransportError};

/// When claims are renewed: three times before they are over.
#[derive(Debug)]
pub(super) struct Alarms {
    every: Duration,
    /// `None` while there is nothing to renew.
    renewal: Option<Instant>,
}

impl Alarms {
    pub(super) fn new(claim_after: Duration) -> Self {
        Self { every: claim_after / 3, renewal: None }
    }

    /// There is an event whose claim is to be renewed.
    pub(super) fn renew(&mut self) {
        if self.renewal.is_none() {
            self.renewal = Some(Instant::now() + self.every);
        }
    }
}

impl Engine {
    /// When there is something to do next.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        let again = self.pausing.peek().map(|Reverse((at, _))| *at);
        let leases = self.leasing.as_ref().and_then(|leasing| leasing.next_alarm());
        [self.alarms.renewal, again, leases].into_iter().flatten().min()
    }

    pub(super) fn alarm(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self.pausing.peek().copied()
            && at <= now
        {
            self.pausing.pop();
            if let Some(held) = self.held.get_mut(&id).filter(|held| held.state == State::Pausing) {
                held.state = State::Ready;
                // Whatever waits has waited for less.
                self.ready.push_front(id);
            }
        }
        if self.alarms.renewal.is_some_and(|at| at <= now) {
            self.alarms.renewal = (!self.held.is_empty()).then(|| now + self.alarms.every);
            self.renew();
        }
        self.look_after_leases(now);
    }

    /// Says of all events that they are still here.
    fn renew(&mut self) {
        let mut ids = vec![Vec::new(); self.parts.len()];
        for (id, held) in &self.held {
            if !held.is_lost {
                ids[self.part_of(*id)].push(*id);
            }
        }
        for (index, ids) in ids.into_iter().enumerate() {
            let part = &mut self.parts[index];
            let Some(subscription) = part.subscription.clone() else { continue };
            // One that waits for the broker says it for all: those that have come meanwhile are younger.
            if ids.is_empty() || std::mem::replace(&mut part.is_renewing, true) {
                continue;
            }
            let epoch = part.epoch;
            self.commands.push(Box::pin(async move {
                Did::Renew { part: index, epoch, answer: subscription.renew(ids).await }
            }));
        }
    }

    /// These have become others'.
    pub(super) fn renewed(
        &mut self,
        part: usize,
        epoch: u64,
        answer: Result<Vec<DeliveryId>, TransportError>,
    ) {
        if self.parts[part].epoch != epoch {
            return;
        }
        self.parts[part].is_renewing = false;
        for id in answer.unwrap_or_default() {
            self.claim_lost(id);
        }
    }

    fn claim_lost(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.is_lost || matches!(held.state, State::Done | State::Burying) {
            return;
        }
        self.shared.figures.claims_lost.fetch_add(1, Relaxed);
        tracing::warn!(
            target: "logcontext::bus",
            event = self.shared.event,
            listener = &*self.shared.listener,
            id = %id.id,
            "an event has become another's while it was here",
        );
        held.is_lost = true;
        if held.state != State::Running {
            self.forget(id);
        }
    }
}

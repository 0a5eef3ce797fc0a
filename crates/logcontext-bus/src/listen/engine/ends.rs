//! Handlers that end, and what becomes of their events.

use std::cmp::Reverse;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::part::{Part, Phase};
use super::{Engine, State, UNACKNOWLEDGED};
use crate::listen::attempt::{Ended, Verdict};
use crate::listen::figures::count;
use crate::listen::listener::StopReason;
use crate::transport::{DeliveryId, TransportError};

impl Engine {
    /// A handler has ended.
    pub(super) fn ended(&mut self, Ended { id, verdict }: Ended) {
        self.running -= 1;
        self.shared.figures.running.store(self.running as u64, Relaxed);
        let part = self.part_of(id);
        let is_stopping = self.stopping.is_some() || self.parts[part].phase != Phase::Open;
        let Some(held) = self.held.get_mut(&id) else { return };
        held.handler = None;
        let is_lost = held.is_lost;
        match verdict {
            // Handled is handled, whosever it is now; but where the lease is another's, so is the word.
            Verdict::Done if self.parts[part].is_lost => self.forget(id),
            Verdict::Done => self.done(id),
            Verdict::Stop { why, and_service } => {
                self.leave(id);
                if and_service {
                    // Why is in the log, in the handler's context.
                    let (event, listener) = (self.shared.event, &self.shared.listener);
                    let why = format!("the listener {listener} could not handle {event} {}", id.id);
                    self.shared.inner.supervisor.ask_to_shut_down(&why);
                }
                self.stop(StopReason::Failed(why.into()));
            }
            Verdict::Aborted => {
                count(&self.shared.figures.aborted);
                self.leave(id);
            }
            _ if is_lost => self.forget(id),
            Verdict::Again(pause) if !is_stopping => {
                self.held.entry(id).and_modify(|held| held.state = State::Pausing);
                self.pausing.push(Reverse((Instant::now() + pause, id)));
            }
            Verdict::Again(_) | Verdict::Leave => self.leave(id),
            Verdict::Bury(reason) => self.bury(id, reason),
        }
        self.settle_part(part);
    }

    /// It is to be acknowledged.
    fn done(&mut self, id: DeliveryId) {
        let part = self.part_of(id);
        let Some(held) = self.held.get_mut(&id) else { return };
        held.state = State::Done;
        if self.done < UNACKNOWLEDGED {
            held.slot = None;
        }
        let lane = held.lane.take();
        self.done += 1;
        self.parts[part].done.push(id);
        self.to_send.push(part);
        self.next_of(lane);
    }

    /// It is left for others.
    pub(super) fn leave(&mut self, id: DeliveryId) {
        match self.held.get(&id) {
            Some(held) if held.is_lost => {}
            Some(held) if held.attempts > 0 => {
                let part = self.part_of(id);
                self.parts[part].left.push(id);
                self.to_send.push(part);
            }
            Some(_) => self.give_back(id),
            None => {}
        }
        self.forget(id);
    }

    /// The same, of what was never begun here: it does not count as delivered.
    pub(super) fn give_back(&mut self, id: DeliveryId) {
        let part = self.part_of(id);
        self.parts[part].given_back.push(id);
        self.to_send.push(part);
    }

    /// What has not begun is left for others: all of it, or that of one part.
    pub(super) fn leave_all_that_has_not_begun(&mut self, only: Option<usize>) {
        let has_not_begun = |state| matches!(state, State::Waiting | State::Ready | State::Pausing);
        let mut ids: Vec<_> =
            self.held.iter().filter(|(_, held)| has_not_begun(held.state)).map(|(id, _)| *id).collect();
        ids.retain(|id| only.is_none_or(|part| self.part_of(*id) == part));
        // Those first that wait for another: so nobody's turn comes by this.
        ids.sort_unstable_by_key(|id| (self.held[id].state != State::Waiting, *id));
        for id in ids {
            self.leave(id);
        }
    }

    /// It is here no more.
    pub(super) fn forget(&mut self, id: DeliveryId) {
        let Some(held) = self.held.remove(&id) else { return };
        self.shared.figures.held.store(self.held.len() as u64, Relaxed);
        let part = self.part_of(id);
        self.parts[part].held -= 1;
        match held.state {
            State::Done => self.done -= 1,
            // It was not its turn.
            State::Waiting => {}
            _ => self.next_of(held.lane),
        }
    }

    /// The next one's turn has come.
    fn next_of(&mut self, lane: Option<u64>) {
        let Some(lane) = lane else { return };
        let held = &self.held;
        let is_waiting = |id| held.get(&id).is_some_and(|held| held.state == State::Waiting);
        if let Some(next) = self.lanes.next(lane, is_waiting) {
            self.make_ready(next);
        }
    }

    /// Lets go of a part that has come to its end.
    pub(super) fn settle_part(&mut self, index: usize) {
        let part = &mut self.parts[index];
        if part.is_lost {
            // Others have it.
            part.left.clear();
            part.given_back.clear();
        }
        if !part.is_through() {
            return;
        }
        let ended = std::mem::replace(part, Part { epoch: part.epoch + 1, ..Part::default() });
        if let Some(leased) = ended.lease.filter(|_| !ended.is_lost) {
            self.let_go(leased.lease);
        }
    }

    /// Logs that the broker will not have a command. Whatever it was about is pending there.
    pub(super) fn unless_done(&self, what: &'static str, answer: Result<(), TransportError>) {
        match answer {
            Ok(()) | Err(TransportError::Closed) => {}
            Err(error) => tracing::warn!(
                target: "logcontext::bus",
                event = self.shared.event,
                listener = &*self.shared.listener,
                %error,
                "events were not {what}: they come again",
            ),
        }
    }
}

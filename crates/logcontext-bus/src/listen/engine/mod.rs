//! A listener's loop.
//!
//! **Who owns what.** The loop is one task. It owns the events that it has (`held`), their order (`lanes`), its partitions
//! (`parts`) and its clocks; no lock, nobody else reads or writes any of it. It hears of the world by three queues and one
//! list of commands: deliveries from the transport, ends of handlers, the word to stop, and answers to what it has asked
//! of the transport. It waits for all of them at once, and for none in particular.
//!
//! **Nothing waits in a circle.** Handlers wait for whatever they like, the bus included. The loop waits for no handler: it
//! starts one and hears of its end by a queue that never is full, as there is one end for each slot. The transport waits
//! for no handler and not for the loop: what it delivers has taken a slot before it was read, so there is always room. And
//! the loop polls its commands beside its queues, so that an acknowledgement which waits for a connection keeps nobody
//! from working. What is left is handler -> transport -> broker, which is no circle. A handler that fires what it listens
//! to waits for the broker to have the event, not for a slot.
//!
//! **Each event is in one state** from its delivery to its end: waiting for its turn, ready, running, pausing before another
//! try, being buried, being acknowledged. It leaves `held` in one of four ways: acknowledged, buried, left for others
//! (released), or no more its own. Only two verdicts lead to the first: the handler ended well, or its policy says that it
//! is done. A handler that ends in no way at all (aborted, its runtime gone) says so when it is dropped, as [`Tell`] is
//! dropped with it; if the loop itself is gone by then, there is nobody who could acknowledge anything, and the broker
//! gives what was pending to others.
//!
//! **Order.** Of a key, one event at a time has its turn, and keeps it through its retries and its burial; the next one's
//! comes when that is done, or has become another's. An event that comes back (the claim had been lost, the broker was
//! away) and is still here is the same event: it keeps its place, and is not run twice. One that comes back when others of
//! its key wait goes before those that are younger, unless one of those has begun.
//!
//! **The end.** Told to stop, the loop ends its subscriptions, leaves for others what has not begun, and goes on until
//! handlers, acknowledgements and burials are through. The supervisor's deadline cuts that short: the loop and its handlers
//! are aborted, and the subscription is dropped, which makes it a dead consumer.
//!
//! **What it costs.** An event is a few steps in maps, however many are held. What is done for all that is held at once
//! (renewing claims) is done three times per claim, not per event.

mod alarm;
mod command;
mod deliveries;
mod ends;
mod leases;
mod order;
mod part;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::StreamExt;
use logcontext::Background;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::attempt::{Attempt, Ended, Tell};
use super::delivered::Received;
use super::listener::{ListenerState, StopReason};
use super::names::TakenName;
use super::shared::Shared;
use crate::handlers::RunningHandler;
use crate::transport::{Delivery, DeliveryId, Subscription};

use alarm::Alarms;
use command::{Commands, Did};
use leases::Leasing;
use order::Lanes;
use part::{Part, Phase};

/// So much is taken out of a queue at once.
const BATCH: usize = 256;

/// What is done gives its slot back before it is acknowledged, so that the broker can be slow; but no more than this.
const UNACKNOWLEDGED: usize = 1_000;

/// What a loop begins with.
pub(super) struct Begun {
    pub(super) shared: Arc<Shared>,
    pub(super) name: TakenName,
    /// To all of it; none where partitions are leased.
    pub(super) subscription: Option<Arc<dyn Subscription>>,
    pub(super) slots: Arc<Semaphore>,
    /// For the subscriptions to come.
    pub(super) deliver: Option<UnboundedSender<Delivery>>,
    pub(super) deliveries: UnboundedReceiver<Delivery>,
}

pub(super) struct Engine {
    shared: Arc<Shared>,
    deliveries: UnboundedReceiver<Delivery>,
    tell: UnboundedSender<Ended>,
    told: UnboundedReceiver<Ended>,
    held: FxHashMap<DeliveryId, Held>,
    lanes: Lanes,
    /// Whose turn it is, with those that have gone meanwhile.
    ready: VecDeque<DeliveryId>,
    running: usize,
    /// So many are being acknowledged, or wait for it.
    done: usize,
    pausing: BinaryHeap<Reverse<(Instant, DeliveryId)>>,
    parts: Vec<Part>,
    /// Those that have something to send.
    to_send: Vec<usize>,
    leasing: Option<Leasing>,
    /// Of partitions that are still being subscribed to.
    early: Vec<Delivery>,
    commands: Commands,
    /// So many of them must get there before the end.
    must: usize,
    alarms: Alarms,
    stopping: Option<StopReason>,
    is_closed: bool,
    /// Dropped last: then it is stopped.
    end: End,
}

/// An event that it has.
struct Held {
    received: Arc<Received>,
    slot: Option<OwnedSemaphorePermit>,
    state: State,
    lane: Option<u64>,
    /// So many handlers were begun for it.
    attempts: u32,
    /// It has become another's.
    is_lost: bool,
    /// Its handler, where that may have to be aborted.
    handler: Option<Background<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is another's turn.
    Waiting,
    Ready,
    Running,
    /// Before another try.
    Pausing,
    /// It becomes a dead letter.
    Burying,
    /// It is acknowledged, or about to be.
    Done,
}

impl Engine {
    pub(super) fn new(begun: Begun) -> Self {
        let Begun { shared, name, subscription, slots, deliver, deliveries } = begun;
        let (tell, told) = unbounded_channel();
        let end = End {
            shared: Arc::clone(&shared),
            why: StopReason::Aborted,
            running: Some((shared.inner.listeners_running.begin(), name)),
        };
        let parts = match subscription {
            Some(subscription) => vec![Part::whole(subscription)],
            None => (0..shared.partitions).map(|_| Part::default()).collect(),
        };
        Self {
            leasing: deliver.map(|deliver| Leasing::new(&shared, slots, deliver)),
            alarms: Alarms::new(shared.inner.config.claim_after),
            shared,
            deliveries,
            tell,
            told,
            held: FxHashMap::default(),
            lanes: Lanes::default(),
            ready: VecDeque::new(),
            running: 0,
            done: 0,
            pausing: BinaryHeap::new(),
            parts,
            to_send: Vec::new(),
            early: Vec::new(),
            commands: Commands::new(),
            must: 0,
            stopping: None,
            is_closed: false,
            end,
        }
    }

    pub(super) async fn run(mut self) {
        let mut stop = pin!(self.shared.control.stop.clone().cancelled_owned());
        let mut shutting_down = pin!(self.shared.inner.supervisor.shutting_down());
        let mut closing = pin!(self.shared.inner.closing.clone().cancelled_owned());
        let mut alarm = pin!(sleep_until(Instant::now()));
        let mut armed = None;
        let (mut ended, mut delivered) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        self.begin_leasing();
        loop {
            self.begin_handlers();
            self.send();
            if self.is_through() {
                break;
            }
            let next = self.next_alarm();
            if next != armed {
                if let Some(at) = next {
                    alarm.as_mut().reset(at);
                }
                armed = next;
            }
            // What ends something comes before what begins something.
            tokio::select! {
                biased;
                () = &mut shutting_down, if self.stopping.is_none() => self.stop(StopReason::ShuttingDown),
                () = &mut closing, if self.stopping.is_none() => self.stop(StopReason::Closed),
                () = &mut stop, if self.stopping.is_none() => self.stop(StopReason::Asked),
                () = &mut alarm, if armed.is_some() => {
                    armed = None;
                    self.alarm();
                }
                Some(did) = self.commands.next(), if !self.commands.is_empty() => self.did(did),
                _ = self.told.recv_many(&mut ended, BATCH) => {
                    ended.drain(..).for_each(|ended| self.ended(ended));
                }
                n = self.deliveries.recv_many(&mut delivered, BATCH), if !self.is_closed => {
                    delivered.drain(..).for_each(|delivery| self.delivered(delivery));
                    if n == 0 {
                        self.closed();
                    }
                }
            }
        }
        self.end.why = self.stopping.take().unwrap_or(StopReason::Closed);
    }

    /// Begins what has its turn, as far as there are slots.
    fn begin_handlers(&mut self) {
        while self.running < self.shared.rules.slots
            && let Some(id) = self.ready.pop_front()
        {
            let Some(held) = self.held.get_mut(&id).filter(|held| held.state == State::Ready) else {
                continue;
            };
            held.state = State::Running;
            held.attempts += 1;
            self.running += 1;
            self.shared.figures.running.store(self.running as u64, Relaxed);
            let (received, number) = (Arc::clone(&held.received), held.attempts);
            let running = self.shared.inner.handlers.begin();
            let lease = self.parts[self.part_of(id)].lease.as_ref().map(|leased| Arc::clone(&leased.lease));
            let attempt = Attempt {
                shared: Arc::clone(&self.shared),
                received,
                number,
                tell: Tell::new(self.tell.clone(), id, running, lease),
            };
            let handler = self.shared.handler.begin(attempt);
            if self.leasing.is_some()
                && let Some(held) = self.held.get_mut(&id)
            {
                held.handler = Some(handler);
            }
        }
    }

    /// Sends what is to be acknowledged and what is to be left for others, one command of a kind at a time.
    fn send(&mut self) {
        while let Some(index) = self.to_send.pop() {
            let part = &mut self.parts[index];
            let Some(subscription) = &part.subscription else { continue };
            if !part.done.is_empty() && !part.is_acknowledging {
                part.is_acknowledging = true;
                part.busy += 1;
                self.must += 1;
                let (ids, subscription) = (std::mem::take(&mut part.done), Arc::clone(subscription));
                self.commands.push(Box::pin(async move {
                    let answer = subscription.acknowledge(ids.clone()).await;
                    Did::Acknowledge { part: index, ids, answer }
                }));
            }
            if !part.left.is_empty() {
                part.busy += 1;
                self.must += 1;
                let (ids, subscription) = (std::mem::take(&mut part.left), Arc::clone(subscription));
                self.commands.push(Box::pin(async move {
                    Did::Release { part: index, answer: subscription.release(ids).await }
                }));
            }
            if !part.given_back.is_empty() {
                part.busy += 1;
                self.must += 1;
                let (ids, subscription) = (std::mem::take(&mut part.given_back), Arc::clone(subscription));
                self.commands.push(Box::pin(async move {
                    Did::Release { part: index, answer: subscription.give_back(ids).await }
                }));
            }
        }
    }

    /// It takes no more from now on.
    fn stop(&mut self, why: StopReason) {
        if self.stopping.is_some() {
            return;
        }
        self.shared.control.state.send_replace(ListenerState::Stopping(why.clone()));
        self.shared.control.stop.cancel();
        self.stopping = Some(why);
        self.leave_all_that_has_not_begun(None);
        for index in 0..self.parts.len() {
            self.end_part(index);
        }
        self.end_leasing();
    }

    /// The transport brings nothing more, and has not been asked for that.
    fn closed(&mut self) {
        self.is_closed = true;
        if self.stopping.is_none() {
            self.stop(StopReason::Closed);
        }
    }

    /// Takes nothing more from this part.
    fn end_part(&mut self, index: usize) {
        let part = &mut self.parts[index];
        if part.phase != Phase::Open {
            return;
        }
        part.phase = Phase::Ending;
        let Some(subscription) = part.subscription.clone() else { return };
        part.busy += 1;
        self.must += 1;
        self.commands.push(Box::pin(async move {
            // An error means that it is closed: it brings nothing more either.
            let _ = subscription.stop().await;
            Did::Stop { part: index }
        }));
    }

    /// What has become of a command.
    fn did(&mut self, did: Did) {
        match did {
            Did::Acknowledge { part, ids, answer } => {
                self.arrived(part);
                self.parts[part].is_acknowledging = false;
                self.to_send.push(part);
                self.unless_done("acknowledged", answer);
                for id in ids {
                    self.forget(id);
                }
                self.settle_part(part);
            }
            Did::Release { part, answer } => {
                self.arrived(part);
                self.unless_done("released", answer);
                self.settle_part(part);
            }
            Did::Bury { part, id, answer } => {
                self.arrived(part);
                self.unless_done("buried", answer);
                self.forget(id);
                self.settle_part(part);
            }
            Did::Stop { part } => {
                self.arrived(part);
                // All that it has brought is in the queue by now.
                while let Ok(delivery) = self.deliveries.try_recv() {
                    self.delivered(delivery);
                }
                self.parts[part].phase = Phase::Ended;
                self.settle_part(part);
            }
            Did::Renew { part, epoch, answer } => self.renewed(part, epoch, answer),
            did => self.did_with_lease(did),
        }
    }

    /// A command for this part that must get there has.
    fn arrived(&mut self, part: usize) {
        self.parts[part].busy -= 1;
        self.must -= 1;
    }

    /// The part that an event is of.
    fn part_of(&self, id: DeliveryId) -> usize {
        // What is tried again comes with the first one.
        if self.leasing.is_some() && id.partition != DeliveryId::RETRIED {
            usize::from(id.partition)
        } else {
            0
        }
    }

    /// Is all done, and nothing more will come?
    fn is_through(&self) -> bool {
        self.stopping.is_some()
            && self.must == 0
            && self.held.is_empty()
            && self.parts.iter().all(|part| part.phase == Phase::Free)
    }
}

/// Says that the listener has ended, however that comes.
struct End {
    shared: Arc<Shared>,
    why: StopReason,
    running: Option<(RunningHandler, TakenName)>,
}

impl Drop for End {
    fn drop(&mut self) {
        let why = std::mem::replace(&mut self.why, StopReason::Aborted);
        // Who hears of its end may use the name again.
        self.running = None;
        self.shared.control.state.send_replace(ListenerState::Stopped(why));
    }
}

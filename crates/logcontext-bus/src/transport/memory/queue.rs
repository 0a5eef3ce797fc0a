//! The calls of one RPC that wait for a slot, and who serves it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::client::Client;
use super::lock;
use super::pump::{self, Moved};
use super::server::Server;
use crate::transport::{Incoming, Lane, Outgoing, ReplyTo};

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    rotate: AtomicUsize,
}

#[derive(Default)]
struct State {
    servers: Arc<[Arc<Server>]>,
    /// Calls of the first lane in the order they came in.
    waiting: BTreeMap<u64, Waiting>,
    by_caller: FxHashMap<ReplyTo, u64>,
    /// Callers for whom the queue was full, in the order they came.
    outside: BTreeMap<u64, Outside>,
    last: u64,
}

/// A call on its way.
pub(super) struct Sent {
    pub(super) client: Arc<Client>,
    pub(super) call: Outgoing,
}

struct Waiting {
    sent: Sent,
    since: Instant,
}

struct Outside {
    waiting: Waiting,
    let_in: oneshot::Sender<()>,
}

/// What became of a call that was to be sent.
pub(super) enum Became {
    /// Somebody has it, or it waits for somebody.
    Taken,
    Unserved,
    /// The queue is full.
    Full(Outgoing),
    /// It is, and this says when there is a place.
    Outside(u64, oneshot::Receiver<()>),
}

/// Whoever finds the queue full
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfFull {
    Goes,
    Waits,
}

impl Queue {
    /// To whoever has a slot, or on the nested lane to anybody.
    pub(super) fn send(&self, mut sent: Sent, if_full: IfFull, now: impl Fn() -> Instant) -> Became {
        let lane = sent.call.lane;
        loop {
            let state = self.lock();
            let handed = match lane {
                Lane::First if !state.waiting.is_empty() => None,
                _ => self.pick(&state, lane),
            };
            let Some((server, slot)) = handed else {
                let is_served = state.servers.iter().any(|server| server.takes(lane));
                if lane == Lane::Nested || !is_served {
                    return Became::Unserved;
                }
                return self.wait(state, sent, if_full, now());
            };
            let sending = server.begin(lane);
            drop(state);
            let message = std::mem::take(&mut sent.call.message);
            let from = sent.client.reply_to(sent.call.call);
            let handed = server.hand(Incoming { from, message, age: std::time::Duration::ZERO, slot });
            drop(sending);
            let Err(back) = handed else { return Became::Taken };
            // Nobody will ever take it from there.
            self.remove(server.id);
            sent.call.message = back.message;
        }
    }

    /// Somebody who serves this lane: the next in turn, of those that have a slot if it needs one.
    fn pick(&self, state: &State, lane: Lane) -> Option<(Arc<Server>, Option<OwnedSemaphorePermit>)> {
        let from = match state.servers.len() {
            0 | 1 => 0,
            count => self.rotate.fetch_add(1, SeqCst) % count,
        };
        let (before, after) = state.servers.split_at(from);
        let mut servers = after.iter().chain(before).filter(|server| server.takes(lane));
        match lane {
            Lane::Nested => servers.next().map(|server| (Arc::clone(server), None)),
            Lane::First => {
                servers.find_map(|server| server.try_slot().map(|slot| (Arc::clone(server), Some(slot))))
            }
        }
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, sent: Sent, if_full: IfFull, since: Instant) -> Became {
        let has_room = state.waiting.len() < sent.client.queue && state.outside.is_empty();
        if !has_room && if_full == IfFull::Goes {
            return Became::Full(sent.call);
        }
        sent.client.waiting.fetch_add(1, SeqCst);
        let waiting = Waiting { sent, since };
        let became = if has_room {
            state.let_in(waiting);
            Became::Taken
        } else {
            let (let_in, is_in) = oneshot::channel();
            state.last += 1;
            let ticket = state.last;
            state.outside.insert(ticket, Outside { waiting, let_in });
            Became::Outside(ticket, is_in)
        };
        let servers = Arc::clone(&state.servers);
        drop(state);
        kick_all(&servers);
        became
    }

    /// Hands the first that waits to a server that has got a slot.
    pub(super) fn move_one(&self, to: &Server, slot: OwnedSemaphorePermit) -> Moved {
        let mut state = self.lock();
        if !to.takes(Lane::First) {
            return Moved::Nothing;
        }
        let Some((_, waiting)) = state.waiting.pop_first() else { return Moved::Nothing };
        let (sent, age) = (waiting.sent, to.now().duration_since(waiting.since));
        let from = sent.client.reply_to(sent.call.call);
        state.by_caller.remove(&from);
        let let_in = state.let_next_in();
        let more = !state.waiting.is_empty();
        drop(state);
        sent.client.waiting.fetch_sub(1, SeqCst);
        tell(let_in);
        let Sent { client, mut call } = sent;
        let message = std::mem::take(&mut call.message);
        if let Err(back) = to.hand(Incoming { from, message, age, slot: Some(slot) }) {
            to.end();
            self.remove(to.id);
            drop(back.slot);
            call.message = back.message;
            let number = call.call;
            let again = Sent { client: Arc::clone(&client), call };
            // Nobody is told if it gets its place only later: its caller has been told that it has one.
            if let Became::Unserved = self.send(again, IfFull::Waits, || waiting.since) {
                client.inbox.unserved(number);
            }
            return Moved::Nothing;
        }
        if more { Moved::OneOfMore } else { Moved::Last }
    }

    /// The caller does not wait any more for a place.
    pub(super) fn leave(&self, ticket: u64) {
        let gone = self.lock().outside.remove(&ticket);
        if let Some(gone) = gone {
            gone.waiting.sent.client.waiting.fetch_sub(1, SeqCst);
        }
    }

    /// Nobody waits for this call any more.
    pub(super) fn cancel(&self, from: &ReplyTo) {
        let mut state = self.lock();
        let begun = match state.by_caller.remove(from).and_then(|at| state.waiting.remove(&at)) {
            Some(waiting) => {
                waiting.sent.client.waiting.fetch_sub(1, SeqCst);
                let let_in = state.let_next_in();
                drop(state);
                tell(let_in);
                return;
            }
            None => Arc::clone(&state.servers),
        };
        drop(state);
        for server in &*begun {
            server.cancelled(from);
        }
    }

    /// Nobody waits for any call of this client any more.
    pub(super) fn forget_client(&self, client: &str) {
        let mut state = self.lock();
        let is_its = |waiting: &Waiting| &*waiting.sent.client.identity == client;
        let (outside, others): (BTreeMap<_, _>, _) =
            std::mem::take(&mut state.outside).into_iter().partition(|(_, it)| is_its(&it.waiting));
        let (inside, still): (BTreeMap<_, _>, _) =
            std::mem::take(&mut state.waiting).into_iter().partition(|(_, it)| is_its(it));
        (state.outside, state.waiting) = (others, still);
        state.by_caller.retain(|from, _| &*from.client != client);
        let let_in: Vec<_> = inside.iter().map(|_| state.let_next_in()).collect();
        drop(state);
        let_in.into_iter().for_each(tell);
        for waiting in inside.into_values().chain(outside.into_values().map(|outside| outside.waiting)) {
            waiting.sent.client.waiting.fetch_sub(1, SeqCst);
        }
    }

    /// Is there no place for one more call of this client?
    pub(super) fn is_full(&self, limit: usize) -> bool {
        self.lock().waiting.len() >= limit
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let State { servers, waiting, by_caller, outside, .. } = &*self.lock();
        servers.is_empty() && waiting.is_empty() && by_caller.is_empty() && outside.is_empty()
    }

    /// One more serves it.
    pub(super) fn add(&self, server: &Arc<Server>) {
        {
            let mut state = self.lock();
            state.servers = state.servers.iter().cloned().chain([Arc::clone(server)]).collect();
        }
        pump::kick(server);
    }

    /// One serves it no more, and none of what it handles can be cancelled.
    pub(super) fn remove(&self, server: u64) {
        {
            let mut state = self.lock();
            state.servers = state.servers.iter().filter(|other| other.id != server).cloned().collect();
        }
        self.tell_unserved();
    }

    /// If nobody is left who takes calls of the first lane, says so to those that wait.
    pub(super) fn tell_unserved(&self) {
        let mut state = self.lock();
        if state.servers.iter().any(|server| server.takes(Lane::First)) {
            return;
        }
        state.by_caller.clear();
        let inside = std::mem::take(&mut state.waiting).into_values();
        let outside = std::mem::take(&mut state.outside).into_values();
        drop(state);
        let told = outside.map(|outside| {
            let _ = outside.let_in.send(());
            outside.waiting
        });
        for waiting in inside.chain(told) {
            let client = &waiting.sent.client;
            client.waiting.fetch_sub(1, SeqCst);
            client.inbox.unserved(waiting.sent.call.call);
        }
    }

    /// Changes something about a server that must not change while a call is handed over.
    pub(super) fn change(&self, change: impl FnOnce()) {
        let _state = self.lock();
        change();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn let_in(&mut self, waiting: Waiting) {
        self.last += 1;
        let from = waiting.sent.client.reply_to(waiting.sent.call.call);
        self.by_caller.insert(from, self.last);
        self.waiting.insert(self.last, waiting);
    }

    /// There is a place again: the first outside gets it.
    fn let_next_in(&mut self) -> Option<oneshot::Sender<()>> {
        let (_, first) = self.outside.pop_first()?;
        self.let_in(first.waiting);
        Some(first.let_in)
    }
}

/// There is a place for it.
fn tell(let_in: Option<oneshot::Sender<()>>) {
    if let Some(let_in) = let_in {
        let _ = let_in.send(());
    }
}

fn kick_all(servers: &[Arc<Server>]) {
    for server in servers {
        pump::kick(server);
    }
}

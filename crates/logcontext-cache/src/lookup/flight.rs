//! One lookup that is under way, and those who wait for it.
//!
//! A flight has a lock of its own. Where the lock of the list of flights is taken as well, it is taken first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Poll, Waker};

use logcontext::{Background, Ending, LogContext};

use super::charge::{Books, Payer};
use super::entry::Outcome;
use crate::sync::{Mutex, lock};

pub(super) struct Flight<K, V, E> {
    /// What is looked up.
    pub(super) keys: Box<[K]>,
    state: Mutex<State<K, V, E>>,
}

struct State<K, V, E> {
    /// By number, and so in the order in which they came.
    waiters: BTreeMap<u64, Waiter>,
    next: u64,
    payer: Payer,
    outcome: Option<Arc<Outcome<K, V, E>>>,
    task: Option<Background<()>>,
}

struct Waiter {
    context: LogContext,
    waker: Option<Waker>,
}

/// What becomes of a flight that a waiter has left.
pub(super) enum Left {
    /// Others wait, or it had landed.
    InTheAir,
    /// Nobody waits for it any more.
    Abandoned,
}

/// What is to be dropped or woken once no lock is held: wakers may run anything.
#[must_use]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    /// Wakes them in the sentinel: whatever a waker does is not done for whoever paid for the lookup.
    pub(super) fn wake(self) {
        LogContext::sentinel().scope(|| self.0.into_iter().for_each(Waker::wake));
    }
}

impl<K, V, E> Flight<K, V, E> {
    /// With its first waiter: number 0.
    pub(super) fn new(keys: Box<[K]>, books: &Books, caller: LogContext) -> Self {
        let payer = books.open(&caller, 0);
        let waiters = BTreeMap::from([(0, Waiter { context: caller, waker: None })]);
        Self { keys, state: Mutex::new(State { waiters, next: 1, payer, outcome: None, task: None }) }
    }

    /// One more waiter. Only while the flight is in the list: then it has not landed.
    pub(super) fn join(&self, books: &Books, caller: LogContext) -> u64 {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        if books.wants(&state.payer, &caller) {
            state.hand_over(books, books.first_of([(number, &caller)]));
        }
        state.waiters.insert(number, Waiter { context: caller, waker: None });
        number
    }

    /// A waiter goes. Where `land_unattended`, the flight does without any.
    pub(super) fn leave(&self, books: &Books, number: u64, land_unattended: bool) -> Left {
        let mut state = lock(&self.state);
        let gone = state.waiters.remove(&number);
        let left = if state.outcome.is_some() {
            Left::InTheAir
        } else if state.waiters.is_empty() && !land_unattended {
            // Who was last pays for the end of it.
            Left::Abandoned
        } else {
            if state.payer.waiter == Some(number) {
                let waiters = state.waiters.iter().map(|(number, waiter)| (*number, &waiter.context));
                let next = books.first_of(waiters);
                state.hand_over(books, next);
            }
            Left::InTheAir
        };
        drop(state);
        drop(gone);
        left
    }

    pub(super) fn poll(&self, number: u64, waker: &Waker) -> Poll<Arc<Outcome<K, V, E>>> {
        let mut state = lock(&self.state);
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(Arc::clone(outcome));
        }
        let replaced = state.waiters.get_mut(&number).and_then(|waiter| match &waiter.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => waiter.waker.replace(waker.clone()),
        });
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// The context that the lookup runs in now.
    pub(super) fn context(&self) -> LogContext {
        lock(&self.state).payer.context.clone()
    }

    /// Keeps the handle to the task, unless that has ended already.
    pub(super) fn set_task(&self, task: Background<()>) {
        let mut state = lock(&self.state);
        if state.outcome.is_none() {
            state.task = Some(task);
        }
    }

    pub(super) fn take_task(&self) -> Option<Background<()>> {
        lock(&self.state).task.take()
    }

    /// The lookup has ended: from here on everyone hears of this. Only once; who waited is to be woken.
    pub(super) fn land(&self, books: &Books, outcome: Outcome<K, V, E>, ending: Ending) -> Wakers {
        let mut state = lock(&self.state);
        // Before anyone can see the outcome: who has it has been charged.
        books.split(&state.payer, state.waiters.values().map(|waiter| &waiter.context));
        books.close(&state.payer, ending);
        state.outcome = Some(Arc::new(outcome));
        let task = state.task.take();
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        drop(task);
        Wakers(waiters.into_values().filter_map(|waiter| waiter.waker).collect())
    }
}

impl<K, V, E> State<K, V, E> {
    fn hand_over(&mut self, books: &Books, next: Payer) {
        let before = std::mem::replace(&mut self.payer, next);
        books.close(&before, Ending::Cancelled);
    }
}

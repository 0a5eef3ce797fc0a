//! Waits in one table, found by number; and in a wheel of as many lists, found by when they are over. Each belongs to
//! the list of its tick, and to that of all ticks a round of the wheel away: the sweeper passes over it once a round.

use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::transport::Message;

/// Lists of the wheel: a round of four seconds.
const LISTS: usize = 2048;
const WORDS: usize = LISTS / 64;
const NONE: u32 = u32::MAX;

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call, for its answer.
    Call,
    /// Who looks after a handler, for a reason to end it.
    Handler,
}

/// What was told to who waits.
#[derive(Debug)]
pub(crate) enum Told {
    /// The answer.
    Answer(Message),
    /// Nobody serves it.
    Unserved,
    /// The connection is lost that the answer would have come by.
    Lost(Arc<str>),
    /// The bus is closed.
    Closed,
    /// Whoever had called waits no more.
    Cancelled,
    /// Its time is over.
    Expired,
}

pub(super) struct Shard {
    places: Vec<Place>,
    /// The first place that is free.
    free: u32,
    counts: [usize; 2],
    lists: Box<[u32; LISTS]>,
    /// Which of the lists have something in them.
    filled: [u64; WORDS],
    /// The last tick that was looked at.
    swept: u64,
    /// The sweeper comes then.
    next_sweep: u64,
}

struct Place {
    /// Tells those apart that are here one after the other.
    generation: u32,
    kind: Kind,
    state: State,
    due: u64,
    /// Of its list; of those that are free.
    next: u32,
    previous: u32,
}

enum State {
    Free,
    Waiting(Waker),
    Told(Told),
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            counts: [0; 2],
            lists: Box::new([NONE; LISTS]),
            filled: [0; WORDS],
            swept: 0,
            next_sweep: u64::MAX,
        }
    }
}

/// Where it is, and which of those that are there one after the other.
fn number(place: u32, generation: u32) -> u64 {
    u64::from(generation) << 28 | u64::from(place)
}

impl Shard {
    /// Answers its number, and whether it is over before the sweeper would come.
    pub(super) fn begin(&mut self, kind: Kind, due: u64, waker: Waker) -> (u64, bool) {
        let due = due.max(self.swept + 1);
        let at = self.take_free();
        self.counts[kind as usize] += 1;
        let place = &mut self.places[at as usize];
        (place.kind, place.due, place.state) = (kind, due, State::Waiting(waker));
        let generation = place.generation;
        self.link(at);
        let is_sooner = due < self.next_sweep;
        if is_sooner {
            self.next_sweep = due;
        }
        (number(at, generation), is_sooner)
    }

    pub(super) fn poll(&mut self, wait: u64, waker: &Waker) -> Poll<Told> {
        let Some(at) = self.find(wait) else { return Poll::Ready(Told::Closed) };
        match &mut self.places[at as usize].state {
            State::Waiting(known) => {
                known.clone_from(waker);
                Poll::Pending
            }
            _ => self.give_back(at).map_or(Poll::Ready(Told::Closed), Poll::Ready),
        }
    }

    /// Ends it. Answers what it had been told, if there was such a one.
    pub(super) fn forget(&mut self, wait: u64) -> Option<Option<Told>> {
        let at = self.find(wait)?;
        if matches!(self.places[at as usize].state, State::Waiting(_)) {
            self.unlink(at);
        }
        Some(self.give_back(at))
    }

    /// Answers who is to be woken, if it still waited.
    pub(super) fn tell(&mut self, wait: u64, kind: Kind, told: Told) -> Option<Waker> {
        let at = self.find(wait)?;
        if self.places[at as usize].kind == kind { self.tell_at(at, told) } else { None }
    }

    pub(super) fn tell_all(&mut self, kind: Kind, told: &dyn Fn() -> Told) -> Vec<Waker> {
        let all = 0..self.places.len() as u32;
        let of_kind = all.filter(|at| self.places[*at as usize].kind == kind).collect::<Vec<_>>();
        of_kind.into_iter().filter_map(|at| self.tell_at(at, told())).collect()
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }

    /// Ends those that are due by now. Answers who is to be woken, and when the next may be due.
    pub(super) fn sweep(&mut self, now: u64) -> (Vec<Waker>, u64) {
        let mut wakers = Vec::new();
        while let Some(tick) = self.next_filled().filter(|tick| *tick <= now) {
            self.swept = tick;
            let mut at = self.lists[list_of(tick)];
            while at != NONE {
                let place = &self.places[at as usize];
                let (due, next) = (place.due, place.next);
                if due <= now {
                    wakers.extend(self.tell_at(at, Told::Expired));
                }
                at = next;
            }
        }
        self.swept = self.swept.max(now);
        self.next_sweep = self.next_filled().unwrap_or(u64::MAX);
        (wakers, self.next_sweep)
    }

    /// The next tick from now on whose list has something in it.
    fn next_filled(&self) -> Option<u64> {
        let from = self.swept + 1;
        let first = list_of(from);
        // The word that it begins in, twice: its upper part first, its lower part last.
        (0..=WORDS).find_map(|n| {
            let word = (first / 64 + n) % WORDS;
            let all = self.filled[word];
            let upper = u64::MAX << (first % 64);
            let bits = match n {
                0 => all & upper,
                WORDS => all & !upper,
                _ => all,
            };
            (bits != 0).then(|| {
                let list = word * 64 + bits.trailing_zeros() as usize;
                from + ((list + LISTS - first) % LISTS) as u64
            })
        })
    }

    fn tell_at(&mut self, at: u32, told: Told) -> Option<Waker> {
        let state = &mut self.places[at as usize].state;
        if !matches!(state, State::Waiting(_)) {
            return None;
        }
        let State::Waiting(waker) = std::mem::replace(state, State::Told(told)) else { return None };
        self.unlink(at);
        Some(waker)
    }

    fn find(&self, wait: u64) -> Option<u32> {
        let at = (wait & ((1 << 28) - 1)) as u32;
        let place = self.places.get(at as usize)?;
        let is_it = number(at, place.generation) == wait && !matches!(place.state, State::Free);
        is_it.then_some(at)
    }

    fn take_free(&mut self) -> u32 {
        if self.free == NONE {
            let at = self.places.len() as u32;
            let place = Place {
                generation: 0,
                kind: Kind::Call,
                state: State::Free,
                due: 0,
                next: NONE,
                previous: NONE,
            };
            self.places.push(place);
            return at;
        }
        let at = self.free;
        self.free = self.places[at as usize].next;
        at
    }

    fn give_back(&mut self, at: u32) -> Option<Told> {
        let free = self.free;
        let place = &mut self.places[at as usize];
        self.counts[place.kind as usize] -= 1;
        place.generation = place.generation.wrapping_add(1);
        place.next = free;
        self.free = at;
        match std::mem::replace(&mut place.state, State::Free) {
            State::Told(told) => Some(told),
            _ => None,
        }
    }

    fn link(&mut self, at: u32) {
        let list = list_of(self.places[at as usize].due);
        let next = std::mem::replace(&mut self.lists[list], at);
        if next != NONE {
            self.places[next as usize].previous = at;
        }
        let place = &mut self.places[at as usize];
        (place.next, place.previous) = (next, NONE);
        self.filled[list / 64] |= 1 << (list % 64);
    }

    fn unlink(&mut self, at: u32) {
        let Place { due, next, previous, .. } = self.places[at as usize];
        let list = list_of(due);
        match previous {
            NONE => self.lists[list] = next,
            previous => self.places[previous as usize].next = next,
        }
        if next != NONE {
            self.places[next as usize].previous = previous;
        }
        if self.lists[list] == NONE {
            self.filled[list / 64] &= !(1 << (list % 64));
        }
    }
}

fn list_of(tick: u64) -> usize {
    (tick % LISTS as u64) as usize
}

//! Places of those who hold a key and of those who wait, one after the other.

use std::task::Waker;
use std::time::Duration;

use logcontext::LogContext;
use tokio::time::Instant;

use super::super::access::Access;
use super::super::slab::{NONE, Slab};

/// Somebody who holds a key or waits for it.
pub(crate) struct Seat {
    pub(crate) context: LogContext,
    /// A waiter's arrival; a holder's begin.
    pub(crate) since: Instant,
    pub(super) key: u32,
    /// The place in `waits`, of a waiter and of who was one.
    pub(super) wait: u32,
    pub(super) previous: u32,
    pub(super) next: u32,
    pub(super) access: Access,
    pub(super) holds: bool,
}

/// A wait that somebody has not heard the end of.
pub(super) struct Wait {
    pub(super) waker: Option<Waker>,
    /// How long it was, once it is over.
    pub(super) waited: Duration,
    /// Has it been reported as long?
    pub(super) reported: bool,
    /// Whose end has ended it, if it was long and not reported.
    pub(super) blamed: Option<LogContext>,
}

/// Seats one after the other.
#[derive(Clone, Copy)]
pub(super) struct List {
    pub(super) first: u32,
    pub(super) last: u32,
}

/// Who waits for whom, as the log shows it.
pub(crate) struct Overdue<K> {
    pub(crate) key: K,
    pub(crate) access: Access,
    pub(crate) waiter: LogContext,
    pub(crate) waited: Duration,
    /// How many wait in front, while it waits.
    pub(crate) ahead: Option<usize>,
    /// The one of the holders who came first, and for how long it has held the key; or whoever has held it last.
    pub(crate) holder: LogContext,
    pub(crate) held: Option<Duration>,
}

/// A wait that is over.
pub(crate) struct Waited<K> {
    pub(crate) waited: Duration,
    /// Was it over before its turn came?
    pub(crate) gave_up: bool,
    /// It was long, and nobody has said so.
    pub(crate) long: Option<Box<Overdue<K>>>,
}

impl Wait {
    /// It is over, thanks to `from`.
    pub(super) fn ends(&mut self, limit: Duration, from: &LogContext) {
        if self.waited >= limit && !self.reported {
            self.blamed = Some(from.clone());
        }
    }

    pub(super) fn over<K: Clone>(self, seat: &Seat, key: &K, gave_up: bool) -> Waited<K> {
        let long = self.blamed.map(|holder| {
            Box::new(Overdue {
                key: key.clone(),
                access: seat.access,
                waiter: seat.context.clone(),
                waited: self.waited,
                ahead: None,
                holder,
                held: None,
            })
        });
        Waited { waited: self.waited, gave_up, long }
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self { waker: None, waited: Duration::ZERO, reported: false, blamed: None }
    }
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    #[inline]
    pub(super) fn push(&mut self, index: u32, seats: &mut Slab<Seat>) {
        let seat = seats.get_mut(index);
        (seat.previous, seat.next) = (self.last, NONE);
        match self.last {
            NONE => self.first = index,
            last => seats.get_mut(last).next = index,
        }
        self.last = index;
    }

    #[inline]
    pub(super) fn unlink(&mut self, index: u32, seats: &mut Slab<Seat>) {
        let seat = seats.get(index);
        let (previous, next) = (seat.previous, seat.next);
        match previous {
            NONE => self.first = next,
            previous => seats.get_mut(previous).next = next,
        }
        match next {
            NONE => self.last = previous,
            next => seats.get_mut(next).previous = previous,
        }
    }
}

//! What the handles of one cache share: the entries, the flights, and how the two agree.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use logcontext::{ClaimedName, Ending, LogContext, Supervisor};

use super::charge::Books;
use super::driver::Lookup;
use super::entry::{Answer, Entry, Outcome};
use super::error::LookupError;
use super::figures::Figures;
use super::flight::{Flight, Left};
use crate::clock::Clock;
use crate::store::{Evicted, Store};
use crate::sync::{Mutex, lock};

pub(super) struct Inner<K, V, E> {
    pub(super) name: ClaimedName,
    pub(super) supervisor: Supervisor,
    pub(super) origin: &'static Location<'static>,
    pub(super) capacity: usize,
    pub(super) expiry: Option<Duration>,
    pub(super) error_expiry: Option<Duration>,
    pub(super) land_unattended: bool,
    pub(super) lookup: Lookup<K, V, E>,
    pub(super) clock: Clock,
    pub(super) books: Books,
    pub(super) figures: Figures,
    pub(super) store: Store<K, Entry<V, E>>,
    /// The flight that will answer for a key. One that is not listed for its key answers those who wait for it, and is
    /// not kept. Entries come only under this lock.
    pub(super) flights: Flights<K, V, E>,
}

type Flights<K, V, E> = Mutex<HashMap<K, Arc<Flight<K, V, E>>, quick_cache::DefaultHashBuilder>>;

/// What there is for one who asks.
pub(super) enum Found<K, V, E> {
    Answer(Answer<V, E>),
    /// Another has asked already: the flight, and the number of the one who waits now.
    Joined(Arc<Flight<K, V, E>>, u64),
    Nothing,
}

impl<K, V, E> Inner<K, V, E>
where
    K: Eq + Hash + Clone,
{
    /// The answer that is kept, if it has not expired. Neither allocates nor knows of the executor.
    #[inline]
    pub(super) fn hit<Q>(&self, key: &Q) -> Option<Answer<V, E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let entry = self.store.get(key)?;
        if self.clock.has_passed(entry.expires) {
            self.forget_expired(key);
            return None;
        }
        self.figures.hits.add_one();
        Some(entry.answer)
    }

    /// The same, of which nobody takes note.
    pub(super) fn peek<Q>(&self, key: &Q) -> Option<Answer<V, E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.store.peek(key).filter(|entry| !self.clock.has_passed(entry.expires)).map(|entry| entry.answer)
    }

    #[cold]
    fn forget_expired<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.store.remove_if(key, |entry| self.clock.has_passed(entry.expires)).is_some() {
            self.figures.expired(1);
        }
    }

    /// Asks for several, of which none was a hit just now. Those of which there is nothing are listed as one flight, with
    /// this caller as its first waiter, or as one each if `each` says so.
    pub(super) fn ask(&self, keys: &[K], caller: &LogContext, each: bool) -> Asked<K, V, E> {
        let mut asked = Asked { found: Vec::with_capacity(keys.len()), started: Vec::new() };
        let mut missing = Vec::new();
        let mut joined: HashMap<usize, u64> = HashMap::new();
        let mut flights = lock(&self.flights);
        for key in keys {
            asked.found.push(match flights.get(key) {
                Some(flight) => {
                    let place = Arc::as_ptr(flight).addr();
                    let number =
                        *joined.entry(place).or_insert_with(|| flight.join(&self.books, caller.clone()));
                    Found::Joined(Arc::clone(flight), number)
                }
                // Since we looked, somebody may have landed.
                None => match self.peek(key) {
                    Some(answer) => Found::Answer(answer),
                    None => {
                        missing.push(key.clone());
                        Found::Nothing
                    }
                },
            });
        }
        let flight = |keys: Box<[K]>| Arc::new(Flight::new(keys, &self.books, caller.clone()));
        let started: Vec<_> = if missing.is_empty() {
            Vec::new()
        } else if each {
            missing.into_iter().map(|key| flight(Box::new([key]))).collect()
        } else {
            vec![flight(missing.into_boxed_slice())]
        };
        for flight in &started {
            for key in &flight.keys {
                flights.insert(key.clone(), Arc::clone(flight));
            }
        }
        drop(flights);
        asked.started = started;
        asked
    }

    /// The same for one, without the lists.
    pub(super) fn ask_one(&self, key: &K, caller: &LogContext) -> (Found<K, V, E>, bool) {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(key) {
            let number = flight.join(&self.books, caller.clone());
            return (Found::Joined(Arc::clone(flight), number), false);
        }
        if let Some(answer) = self.peek(key) {
            return (Found::Answer(answer), false);
        }
        let flight = Arc::new(Flight::new(Box::new([key.clone()]), &self.books, caller.clone()));
        flights.insert(key.clone(), Arc::clone(&flight));
        (Found::Joined(flight, 0), true)
    }

    /// One who waited for a flight goes.
    pub(super) fn leave(&self, flight: &Arc<Flight<K, V, E>>, number: u64) {
        let mut flights = lock(&self.flights);
        let mut gone = Vec::new();
        if let Left::Abandoned = flight.leave(&self.books, number, self.land_unattended) {
            // Under the lock, so that nobody joins what is about to be cancelled.
            let listed = |key| flights.get(key).is_some_and(|listed| Arc::ptr_eq(listed, flight));
            let keys: Vec<_> = flight.keys.iter().filter(|key| listed(key)).collect();
            gone = keys.into_iter().filter_map(|key| flights.remove_entry(key)).collect();
            let task = flight.take_task();
            drop(flights);
            if let Some(task) = task {
                task.abort();
            }
        } else {
            drop(flights);
        }
        drop(gone);
    }

    /// A lookup has ended: what it has found is kept for those keys that it was still to answer for, and told to those
    /// who waited.
    pub(super) fn land(&self, flight: &Arc<Flight<K, V, E>>, outcome: Outcome<K, V, E>, ending: Ending) {
        let now = self.clock.now();
        let mut evicted = Evicted::default();
        let mut replaced = Vec::new();
        let mut flights = lock(&self.flights);
        for key in &flight.keys {
            if !flights.get(key).is_some_and(|listed| Arc::ptr_eq(listed, flight)) {
                continue;
            }
            let Some((key, listed)) = flights.remove_entry(key) else { continue };
            debug_assert!(Arc::strong_count(&listed) > 1, "the caller holds one");
            let Some(answer) = outcome.answer(&key) else { continue };
            let expires = match &answer {
                Answer::Failed(_) => match self.error_expiry {
                    Some(expiry) => Clock::after(now, Some(expiry)),
                    None => continue,
                },
                Answer::Found(_) | Answer::Absent => Clock::after(now, self.expiry),
            };
            // What expired meanwhile, most likely; dropped outside of the lock.
            replaced.extend(self.store.peek(&key));
            self.store.insert_with_lifecycle(key, Entry { answer, expires }, &mut evicted);
        }
        let wakers = flight.land(&self.books, outcome, ending);
        drop(flights);
        self.figures.evicted(evicted.len());
        drop((evicted, replaced));
        wakers.wake();
    }

    pub(super) fn insert(&self, key: K, answer: Answer<V, E>) {
        let expires = Clock::after(self.clock.now(), self.expiry);
        let mut evicted = Evicted::default();
        let mut flights = lock(&self.flights);
        // What is looked up now is older than this.
        let flight = flights.remove_entry(&key);
        let replaced = self.store.peek(&key);
        self.store.insert_with_lifecycle(key, Entry { answer, expires }, &mut evicted);
        drop(flights);
        self.figures.evicted(evicted.len());
        drop((flight, replaced, evicted));
    }

    pub(super) fn invalidate<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut flights = lock(&self.flights);
        let flight = flights.remove_entry(key);
        let entry = self.store.remove(key);
        drop(flights);
        self.figures.invalidated(usize::from(entry.is_some()));
        drop(flight);
        entry.is_some()
    }

    pub(super) fn invalidate_all(&self) {
        let mut flights = lock(&self.flights);
        let listed = std::mem::take(&mut *flights);
        let entries: Vec<_> = self.store.drain().collect();
        drop(flights);
        self.figures.invalidated(entries.len());
        drop((listed, entries));
    }

    /// A lookup that nobody could start.
    pub(super) fn refuse(&self, flight: &Arc<Flight<K, V, E>>, error: LookupError<E>) {
        self.land(flight, Outcome::Nothing(error), Ending::Cancelled);
    }
}

/// What one who asked for several has got.
pub(super) struct Asked<K, V, E> {
    /// Key by key, as they were asked for.
    pub(super) found: Vec<Found<K, V, E>>,
    /// Flights that the caller is to start; it is their first waiter.
    pub(super) started: Vec<Arc<Flight<K, V, E>>>,
}

//! [`CachedLookup`]: callers that meet share one lookup.

mod builder;
mod charge;
mod driver;
mod entry;
mod error;
mod figures;
mod flight;
mod get;
mod inner;
mod wait;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use logcontext::current_context;
use tokio::runtime::Handle;

pub use builder::LookupBuilder;
pub use charge::ChargeTo;
pub use error::LookupError;

use entry::Answer;
use flight::Flight;
use get::{Find, Get};
use inner::{Found, Inner};
use wait::Wait;

/// A cache that knows how to look up what it does not have. Callers that ask for the same key at the same time share one
/// lookup, which runs as a task of its own, in a context that [`ChargeTo`] chooses. Every caller comes back in the
/// context that it came with. Clones are the same cache. Synapse: `@cached`, `@cachedList`, `ResponseCache`.
///
/// - Dropping a caller's future harms nobody else: if it was to pay, the next one who waits does. When nobody waits any
///   more the lookup is cancelled, or goes on if [told so](LookupBuilder::finish_unattended).
/// - An error is told to all who wait, and is not kept unless [told so](LookupBuilder::error_expiry). A panic is logged
///   once, in the context of who pays, and is an error to all.
/// - What is [invalidated](Self::invalidate) while it is looked up is told to those who wait, and not kept; who asks
///   from then on is answered by a new lookup.
/// - A hit neither allocates nor gives the executor a turn.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{FutureExt, LogContext, current_context};
/// use logcontext_cache::{CachedLookup, ChargeTo};
///
/// let profiles = CachedLookup::builder("profiles")
///     .capacity(50_000)
///     .charge_to(ChargeTo::FirstCaller)
///     .build(|user: u32| async move { Ok::<_, std::io::Error>(format!("{user} in {}", current_context())) });
///
/// async {
///     let (a, b) = tokio::join!(profiles.get(17), profiles.get(17)); // one lookup
///     assert_eq!(*a.unwrap(), "17 in GET-1-profiles");
///     assert_eq!(*b.unwrap(), "17 in GET-1-profiles");
/// }
/// .in_context(LogContext::new("GET-1"))
/// .await;
/// profiles.invalidate(&17);
/// assert!(profiles.is_empty());
/// # }
/// ```
#[doc(alias = "cached")]
#[doc(alias = "DeferredCache")]
#[doc(alias = "ResponseCache")]
pub struct CachedLookup<K, V, E> {
    inner: Arc<Inner<K, V, E>>,
}

impl CachedLookup<(), (), ()> {
    /// A cache with this name, which is what its figures, its contexts and its log lines are found by.
    pub fn builder(name: &str) -> LookupBuilder {
        LookupBuilder::new(name)
    }
}

impl<K, V, E> CachedLookup<K, V, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// The value for this key: from the cache, or looked up.
    ///
    /// # Errors
    /// [`LookupError`]: what the lookup failed with, for all who waited for it; [`Absent`](LookupError::Absent) where a
    /// lookup of many has found nothing for the key.
    #[inline]
    pub fn get(&self, key: K) -> impl Future<Output = Result<Arc<V>, LookupError<E>>> + Send + Unpin {
        Get(Find::new(self, key))
    }

    /// The same where a lookup of many may have found nothing for the key: that is `None`.
    ///
    /// # Errors
    /// [`LookupError`], but never [`Absent`](LookupError::Absent).
    #[inline]
    pub fn find(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Option<Arc<V>>, LookupError<E>>> + Send + Unpin {
        Find::new(self, key)
    }

    /// The values for these keys; what is absent is not in the map. Those that are neither known nor being looked up go
    /// to one call of the lookup, if that [takes many](LookupBuilder::build_many), and to one each if not, all at once.
    /// Synapse: `@cachedList`.
    ///
    /// # Errors
    /// The first error of a lookup that this had to wait for.
    #[doc(alias = "cachedList")]
    pub async fn get_many(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<HashMap<K, Arc<V>>, LookupError<E>> {
        let mut values = HashMap::new();
        let mut missing = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for key in keys {
            match self.inner.hit(&key) {
                Some(answer) => {
                    if let Some(value) = answer.into_result()? {
                        values.insert(key, value);
                    }
                }
                None if seen.contains(&key) => {}
                None => {
                    seen.insert(key.clone());
                    missing.push(key);
                }
            }
        }
        drop(seen);
        if missing.is_empty() {
            return Ok(values);
        }
        let first = self.ask_many(&missing, &mut values).await;
        match first {
            // Their runtime has gone, not ours: once more, with a lookup of our own.
            Err(LookupError::Cancelled) if !self.inner.supervisor.is_shutting_down() => {
                self.ask_many(&missing, &mut values).await?;
            }
            first => first?,
        }
        Ok(values)
    }

    /// The value that the cache has for this key, if any. Looks nothing up, counts as neither hit nor miss, and does not
    /// keep the entry from being evicted.
    pub fn peek<Q>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match self.inner.peek(key)? {
            Answer::Found(value) => Some(value),
            Answer::Absent | Answer::Failed(_) => None,
        }
    }

    /// Keeps this value for this key. A lookup that is under way for it is told to those who wait, and not kept.
    pub fn insert(&self, key: K, value: impl Into<Arc<V>>) {
        self.inner.insert(key, Answer::Found(value.into()));
    }

    /// Forgets this key: from now on nobody gets what was known, or is being looked up, before this. Those who wait for a
    /// lookup already get its answer. Tells whether something was kept.
    pub fn invalidate<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.inner.invalidate(key)
    }

    /// The same for all keys.
    pub fn invalidate_all(&self) {
        self.inner.invalidate_all();
    }

    /// How many keys it has an answer for, those included that have expired and were not asked for since.
    pub fn len(&self) -> usize {
        self.inner.store.len()
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its name: as given, or numbered if that was taken.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Bytes that the table of entries takes, what keys and values own elsewhere apart.
    #[doc(hidden)]
    pub fn memory_used(&self) -> usize {
        self.inner.store.memory_used().total()
    }

    async fn look_up(&self, key: K) -> Result<Option<Arc<V>>, LookupError<E>> {
        match self.ask_one(&key).await {
            // Its runtime has gone, not ours: once more, with a lookup of our own.
            Err(LookupError::Cancelled) if !self.inner.supervisor.is_shutting_down() => {
                self.ask_one(&key).await
            }
            result => result,
        }
    }

    async fn ask_one(&self, key: &K) -> Result<Option<Arc<V>>, LookupError<E>> {
        let (flight, number) = match self.inner.ask_one(key, &current_context()) {
            (Found::Joined(flight, number), started) => {
                if started {
                    self.inner.figures.missed(1);
                    self.start(&flight);
                } else {
                    self.inner.figures.waited(1);
                }
                (flight, number)
            }
            (Found::Answer(answer), _) => {
                self.inner.figures.hits.add_one();
                return answer.into_result();
            }
            (Found::Nothing, _) => unreachable!("what is not there is started"),
        };
        self.wait(flight, number).await.of(key)
    }

    async fn ask_many(&self, keys: &[K], values: &mut HashMap<K, Arc<V>>) -> Result<(), LookupError<E>> {
        let inner = &self.inner;
        let each = matches!(inner.lookup, driver::Lookup::One(_));
        let asked = inner.ask(keys, &current_context(), each);
        let mut flights = HashMap::new();
        for flight in &asked.started {
            let wait = self.wait(Arc::clone(flight), 0);
            flights.insert(Arc::as_ptr(flight).addr(), (wait, flight.keys.iter().collect()));
        }
        let mut failed = None;
        let mut waited = 0;
        for (key, found) in keys.iter().zip(asked.found) {
            match found {
                Found::Answer(answer) => match answer.into_result() {
                    Ok(Some(value)) => drop(values.insert(key.clone(), value)),
                    Ok(None) => {}
                    Err(error) => failed = failed.or(Some(error)),
                },
                Found::Joined(flight, number) => {
                    waited += 1;
                    let place = Arc::as_ptr(&flight).addr();
                    let entry = flights.entry(place);
                    entry.or_insert_with(|| (self.wait(flight, number), Vec::new())).1.push(key);
                }
                Found::Nothing => {}
            }
        }
        inner.figures.waited(waited);
        for flight in &asked.started {
            inner.figures.missed(flight.keys.len());
            self.start(flight);
        }
        for (_, (wait, keys)) in flights {
            let outcome = wait.await;
            for key in keys {
                match outcome.of(key) {
                    Ok(Some(value)) => drop(values.insert(key.clone(), value)),
                    Ok(None) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn start(&self, flight: &Arc<Flight<K, V, E>>) {
        if Handle::try_current().is_ok() {
            driver::start(&self.inner, flight);
        } else {
            self.inner.refuse(flight, LookupError::NoRuntime);
        }
    }

    fn wait(&self, flight: Arc<Flight<K, V, E>>, number: u64) -> Wait<'_, K, V, E> {
        Wait { inner: &self.inner, flight, number, landed: false }
    }
}

impl<K, V, E> Clone for CachedLookup<K, V, E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K, V, E> fmt::Debug for CachedLookup<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedLookup").field("name", &&*self.inner.name).finish_non_exhaustive()
    }
}

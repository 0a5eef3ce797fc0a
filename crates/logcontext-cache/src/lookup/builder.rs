//! Making a cache of lookups.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use logcontext::Supervisor;
use logcontext::source::Source;

use super::CachedLookup;
use super::charge::{Books, ChargeTo};
use super::driver::Lookup;
use super::figures::Figures;
use super::inner::Inner;
use crate::clock::Clock;
use crate::store::store;
use crate::sync::Mutex;

/// A cache of lookups in the making: see [`CachedLookup::builder`].
#[derive(Clone, Debug)]
#[must_use = "a cache is made by `build`"]
pub struct LookupBuilder {
    name: Box<str>,
    capacity: usize,
    expiry: Option<Duration>,
    error_expiry: Option<Duration>,
    charge_to: ChargeTo,
    finish_unattended: bool,
    supervisor: Option<Supervisor>,
}

impl LookupBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            capacity: 10_000,
            expiry: None,
            error_expiry: None,
            charge_to: ChargeTo::default(),
            finish_unattended: false,
            supervisor: None,
        }
    }

    /// At most so many entries; 10,000 unless told otherwise. Which ones go is CLOCK-Pro's choice, a policy that keeps
    /// what is asked for again and is not flushed by keys that are asked for once. The cache is in parts, each of which
    /// has its share of the entries, so the first may go a little before the cache is full. With 0 nothing is kept, and
    /// callers still share their lookups.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// How long an answer is kept, from the end of its lookup. Without this, until it is evicted or invalidated. What
    /// has expired is not returned any more; it goes when it is asked for or when its place is needed. By tokio's clock.
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Keeps errors too, for so long: whoever asks meanwhile gets the same one. Without this an error is told to those
    /// who wait for it, and the next one asks anew. A panic is never kept.
    #[doc(alias = "negative caching")]
    pub fn error_expiry(mut self, expiry: Duration) -> Self {
        self.error_expiry = Some(expiry);
        self
    }

    /// Who pays for a lookup: the first caller, unless told otherwise.
    pub fn charge_to(mut self, payer: ChargeTo) -> Self {
        self.charge_to = payer;
        self
    }

    /// A lookup goes on, and is kept, if all who waited for it have gone; the cache pays for the rest. Without this it is
    /// cancelled.
    pub fn finish_unattended(mut self) -> Self {
        self.finish_unattended = true;
        self
    }

    /// The supervisor that it belongs to, if not the current one.
    pub fn supervisor(mut self, supervisor: &Supervisor) -> Self {
        self.supervisor = Some(supervisor.clone());
        self
    }

    /// The cache, with what looks a key up. Needs no runtime; looking up does.
    ///
    /// If another cache of the supervisor has this name already, this one is numbered, and a diagnostic is raised.
    #[track_caller]
    pub fn build<K, V, E, F, Fut>(self, lookup: F) -> CachedLookup<K, V, E>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: Fn(K) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.with(Lookup::One(Box::new(move |key| Box::pin(lookup(key)))), Location::caller())
    }

    /// The cache, with what looks many keys up in one go. What it does not answer is absent, and remembered so; what it
    /// was not asked for is left out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext_cache::{CachedLookup, LookupError};
    /// use std::collections::HashMap;
    ///
    /// let lengths = CachedLookup::builder("lengths").build_many(|words: Vec<&'static str>| async move {
    ///     let known = words.into_iter().filter(|word| !word.is_empty());
    ///     Ok::<_, std::io::Error>(known.map(|word| (word, word.len())).collect::<HashMap<_, _>>())
    /// });
    /// let found = lengths.get_many(["alice", "", "bob"]).await.unwrap();
    /// assert_eq!((*found["alice"], *found["bob"], found.len()), (5, 3, 2));
    /// assert_eq!(lengths.find("").await.unwrap(), None);
    /// assert!(matches!(lengths.get("").await, Err(LookupError::Absent)));
    /// # }
    /// ```
    #[track_caller]
    pub fn build_many<K, V, E, F, Fut, M>(self, lookup: F) -> CachedLookup<K, V, E>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M, E>> + Send + 'static,
        M: IntoIterator<Item = (K, V)>,
    {
        let many = move |keys| {
            let values = lookup(keys);
            Box::pin(async move { Ok(values.await?.into_iter().collect::<HashMap<_, _>>()) }) as _
        };
        self.with(Lookup::Many(Box::new(many)), Location::caller())
    }

    fn with<K, V, E>(
        self,
        lookup: Lookup<K, V, E>,
        origin: &'static Location<'static>,
    ) -> CachedLookup<K, V, E>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let supervisor = self.supervisor.unwrap_or_else(Supervisor::current);
        let name = supervisor.claim_name("cache", &self.name, origin);
        let inner = Arc::new(Inner {
            books: Books::new(self.charge_to, &name, &supervisor, origin),
            name,
            origin,
            capacity: self.capacity,
            expiry: self.expiry,
            error_expiry: self.error_expiry,
            land_unattended: self.finish_unattended,
            lookup,
            clock: Clock::new(),
            figures: Figures::new(),
            store: store(self.capacity),
            flights: Mutex::new(HashMap::default()),
            supervisor,
        });
        let source: Arc<dyn Source> = Arc::clone(&inner) as _;
        inner.supervisor.register(&source);
        CachedLookup { inner }
    }
}

//! [`Linearizer`]: one after the other, per key.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use logcontext::Supervisor;

use super::access::Access;
use super::listing::{Holder, Waiter};
use super::queued::Queued;
use super::shared::{Held, Keyed, QueueKey, Settings};

/// A queue for each key: whoever asks for a key that is taken waits for its turn, first come first served. Synapse has
/// one of the same name.
///
/// Keys that nobody holds take no memory. A handle is cheap to clone; all clones are the same queues. Knows who holds
/// what and since when, and who waits; waiting is on the bill of the context that waits.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext_cache::Linearizer;
///
/// let rooms = Linearizer::new("rooms");
/// let turn = rooms.queue("!room:one").await;
/// let _other = rooms.queue("!room:two").await; // nobody in the way
/// assert!(rooms.try_queue("!room:one").is_none());
/// drop(turn);
/// assert!(rooms.try_queue("!room:one").is_some());
/// # }
/// ```
pub struct Linearizer<K: QueueKey>(Arc<Keyed<K>>);

impl<K: QueueKey> Linearizer<K> {
    /// One at once per key, in the current context's supervisor. The name is for logs and metrics; if another
    /// linearizer of the supervisor has it, this one is numbered, and a diagnostic is raised.
    #[track_caller]
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self::builder(name).build()
    }

    /// One with settings of its own.
    ///
    /// ```
    /// use logcontext_cache::Linearizer;
    /// use std::time::Duration;
    ///
    /// let hosts: Linearizer<String> =
    ///     Linearizer::builder("hosts").at_once(2).slow_wait(Duration::from_secs(10)).build();
    /// let first = hosts.try_queue("one.test".to_owned());
    /// let second = hosts.try_queue("one.test".to_owned());
    /// assert!(first.is_some() && second.is_some());
    /// assert!(hosts.try_queue("one.test".to_owned()).is_none());
    /// ```
    pub fn builder(name: impl Into<Box<str>>) -> LinearizerBuilder<K> {
        let settings = Settings::new(name.into(), "linearizer", 1);
        LinearizerBuilder { settings, key: PhantomData }
    }

    /// Waits for the key, behind those who came before. It is held until the [`Turn`] is dropped.
    ///
    /// Waiting for a key that one holds oneself never ends, unless more than one may hold it at once.
    #[inline]
    pub fn queue(&self, key: K) -> Queued<K, Turn<K>> {
        Queued::new(&self.0, key, Access::Turn)
    }

    /// Takes the key if it is free and nobody waits for it.
    #[inline]
    pub fn try_queue(&self, key: K) -> Option<Turn<K>> {
        self.0.try_take(key, Access::Turn).map(Turn)
    }

    /// Who holds a key now and since when, those who have held theirs for longest first. Locks one part of the keys
    /// after the other, and copies: for people and for pages about the service.
    ///
    /// ```
    /// use logcontext::LogContext;
    /// use logcontext_cache::Linearizer;
    ///
    /// let rooms = Linearizer::new("rooms");
    /// let _turn = LogContext::new("PUT-17").scope(|| rooms.try_queue("!room:one"));
    /// let holders = rooms.holders();
    /// assert_eq!((holders[0].key, holders[0].context.name()), ("!room:one", "PUT-17"));
    /// ```
    pub fn holders(&self) -> Vec<Holder<K>> {
        self.0.holders()
    }

    /// Who waits now and since when: in the order of arrival. Costs what [`holders`](Self::holders) does.
    pub fn waiting(&self) -> Vec<Waiter<K>> {
        self.0.waiting()
    }

    /// How many keys are held now. There is nothing of the others.
    pub fn keys_in_use(&self) -> usize {
        self.0.keys_in_use()
    }

    /// Its name, with a number behind it if it was taken.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl<K: QueueKey> Clone for Linearizer<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: QueueKey> fmt::Debug for Linearizer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("Linearizer", f)
    }
}

/// A linearizer in the making: see [`Linearizer::builder`].
#[derive(Debug)]
#[must_use = "it is made by `build()`"]
pub struct LinearizerBuilder<K> {
    settings: Settings,
    key: PhantomData<fn(K)>,
}

impl<K: QueueKey> LinearizerBuilder<K> {
    /// How many may hold a key at once: 1 unless told otherwise. 0 is taken for 1.
    #[doc(alias = "max_count")]
    pub fn at_once(mut self, count: u32) -> Self {
        self.settings.capacity = count;
        self
    }

    /// Who waits for so long is on the log, with the context that waits and the one that it waits for: 1 s unless told
    /// otherwise. It is logged while it waits, where there is a tokio runtime with timers; otherwise at the end.
    pub fn slow_wait(mut self, limit: Duration) -> Self {
        self.settings.slow_wait = limit;
        self
    }

    /// The supervisor that it belongs to, if not the current context's.
    pub fn supervisor(mut self, supervisor: &Supervisor) -> Self {
        self.settings.supervisor = Some(supervisor.clone());
        self
    }

    /// Makes it. It is listed among the supervisor's [sources](Supervisor::sources) until its last handle, turn and
    /// waiter is gone.
    #[track_caller]
    pub fn build(self) -> Linearizer<K> {
        Linearizer(Keyed::new(self.settings, Location::caller()))
    }
}

/// A key of a [`Linearizer`] is held: given back when this is dropped, on whichever thread.
#[must_use = "the key is given back when this is dropped"]
pub struct Turn<K: QueueKey>(Held<K>);

impl<K: QueueKey> Turn<K> {
    /// How long it was waited for.
    pub fn waited(&self) -> Duration {
        self.0.waited()
    }
}

impl<K: QueueKey> From<Held<K>> for Turn<K> {
    #[inline]
    fn from(held: Held<K>) -> Self {
        Self(held)
    }
}

impl<K: QueueKey> fmt::Debug for Turn<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("Turn", f)
    }
}

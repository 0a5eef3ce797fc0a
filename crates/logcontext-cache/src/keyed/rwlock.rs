//! [`KeyedRwLock`]: many readers or one writer, per key.

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

/// A lock for each key: readers share it, a writer has it alone. Synapse: `ReadWriteLock`.
///
/// Turns go in the order of arrival: a reader does not overtake a writer who waits, so no writer waits for ever; readers
/// with no writer between them run together. Otherwise all is as with a [`Linearizer`](crate::Linearizer).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext_cache::KeyedRwLock;
///
/// let purges = KeyedRwLock::new("purges");
/// let one = purges.read("!room:one").await;
/// let two = purges.read("!room:one").await;
/// assert!(purges.try_write("!room:one").is_none());
/// drop((one, two));
/// let writing = purges.write("!room:one").await;
/// assert!(purges.try_read("!room:one").is_none());
/// # drop(writing);
/// # }
/// ```
#[doc(alias = "ReadWriteLock")]
pub struct KeyedRwLock<K: QueueKey>(Arc<Keyed<K>>);

impl<K: QueueKey> KeyedRwLock<K> {
    /// One in the current context's supervisor. The name is for logs and metrics; if another lock of the supervisor has
    /// it, this one is numbered, and a diagnostic is raised.
    #[track_caller]
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self::builder(name).build()
    }

    /// One with settings of its own.
    ///
    /// ```
    /// use logcontext::Supervisor;
    /// use logcontext_cache::KeyedRwLock;
    /// use std::time::Duration;
    ///
    /// let service = Supervisor::new("presence");
    /// let purges: KeyedRwLock<u64> =
    ///     KeyedRwLock::builder("purges").slow_wait(Duration::from_secs(10)).supervisor(&service).build();
    /// assert_eq!(service.sources().len(), 1);
    /// # drop(purges);
    /// ```
    pub fn builder(name: impl Into<Box<str>>) -> KeyedRwLockBuilder<K> {
        let settings = Settings::new(name.into(), "rwlock", u32::MAX);
        KeyedRwLockBuilder { settings, key: PhantomData }
    }

    /// Waits until the key may be read, behind those who came before.
    #[inline]
    pub fn read(&self, key: K) -> Queued<K, Reading<K>> {
        Queued::new(&self.0, key, Access::Read)
    }

    /// Waits until the key may be written, behind those who came before.
    #[inline]
    pub fn write(&self, key: K) -> Queued<K, Writing<K>> {
        Queued::new(&self.0, key, Access::Write)
    }

    /// Takes the key to read if nobody writes it and nobody waits for it.
    #[inline]
    pub fn try_read(&self, key: K) -> Option<Reading<K>> {
        self.0.try_take(key, Access::Read).map(Reading)
    }

    /// Takes the key to write if nobody holds it.
    #[inline]
    pub fn try_write(&self, key: K) -> Option<Writing<K>> {
        self.0.try_take(key, Access::Write).map(Writing)
    }

    /// Who holds a key now, what for and since when: see [`Linearizer::holders`](crate::Linearizer::holders).
    pub fn holders(&self) -> Vec<Holder<K>> {
        self.0.holders()
    }

    /// Who waits now, what for and since when: in the order of arrival.
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

impl<K: QueueKey> Clone for KeyedRwLock<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: QueueKey> fmt::Debug for KeyedRwLock<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt("KeyedRwLock", f)
    }
}

/// A lock in the making: see [`KeyedRwLock::builder`].
#[derive(Debug)]
#[must_use = "it is made by `build()`"]
pub struct KeyedRwLockBuilder<K> {
    settings: Settings,
    key: PhantomData<fn(K)>,
}

impl<K: QueueKey> KeyedRwLockBuilder<K> {
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

    /// Makes it. It is listed among the supervisor's [sources](Supervisor::sources) until its last handle, guard and
    /// waiter is gone.
    #[track_caller]
    pub fn build(self) -> KeyedRwLock<K> {
        KeyedRwLock(Keyed::new(self.settings, Location::caller()))
    }
}

/// Declares a guard of the lock.
macro_rules! guard {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[must_use = "the key is given back when this is dropped"]
        pub struct $name<K: QueueKey>(Held<K>);

        impl<K: QueueKey> $name<K> {
            /// How long it was waited for.
            pub fn waited(&self) -> Duration {
                self.0.waited()
            }
        }

        impl<K: QueueKey> From<Held<K>> for $name<K> {
            #[inline]
            fn from(held: Held<K>) -> Self {
                Self(held)
            }
        }

        impl<K: QueueKey> fmt::Debug for $name<K> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(stringify!($name), f)
            }
        }
    };
}

guard! {
    /// A key of a [`KeyedRwLock`] is held to read: given back when this is dropped, on whichever thread.
    Reading
}

guard! {
    /// A key of a [`KeyedRwLock`] is held to write: given back when this is dropped, on whichever thread.
    Writing
}

//! A bounded queue whose items are worked off in the background.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use crate::outcome::Outcome;
use crate::spawn::{self, Background};
use crate::supervisor::Supervisor;
use crate::sync::lock;

/// Why a queue did not take an item; the item is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refused<T> {
    /// As many items are waiting as the queue holds.
    Full(T),
    /// The supervisor is shutting down.
    ShuttingDown(T),
}

impl<T> Refused<T> {
    /// The item.
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::ShuttingDown(item) => item,
        }
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::ShuttingDown(_) => "the queue takes nothing more: shutting down",
        })
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> std::error::Error for Refused<T> {}

/// A queue in the making: see [`queue`].
#[derive(Debug)]
#[must_use = "a queue is made by `handle`"]
pub struct QueueBuilder {
    name: Box<str>,
    capacity: usize,
    idle: Duration,
    supervisor: Supervisor,
    origin: &'static Location<'static>,
}

/// A bounded queue that is worked off by a background process of this name: one after the other, in order. The
/// process starts with the first item and ends by itself once the queue has been idle for a second. An item
/// that fails or panics is reported, and the next one comes. A shutdown waits for what is queued.
/// Synapse: `BackgroundQueue`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::background;
///
/// let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
/// let queue = background::queue("send_mail", 100).handle(move |to: String| {
///     let tell = tell.clone();
///     async move { tell.send(to) }
/// });
/// queue.push("alice".to_owned()).await.unwrap();
/// assert_eq!(told.recv().await.unwrap(), "alice");
/// # }
/// ```
///
/// # Panics
/// If the capacity is zero.
#[track_caller]
#[doc(alias = "BackgroundQueue")]
pub fn queue(name: &str, capacity: usize) -> QueueBuilder {
    assert!(capacity > 0, "a queue must have room for something");
    QueueBuilder {
        name: name.into(),
        capacity: capacity.min(Semaphore::MAX_PERMITS),
        idle: Duration::from_secs(1),
        supervisor: Supervisor::current(),
        origin: Location::caller(),
    }
}

impl QueueBuilder {
    /// How long the process waits for more before it ends.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Makes the queue. `handler` is called for each item, in the process's context.
    pub fn handle<T, F, Fut>(self, handler: F) -> Queue<T>
    where
        T: Send + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Outcome + Send + 'static,
    {
        let shared = Arc::new(Shared {
            room: Semaphore::new(self.capacity),
            state: Mutex::new(State { items: VecDeque::new(), draining: false }),
            more: Notify::new(),
            settings: self,
        });
        let handler = Arc::new(handler);
        let drain = move |shared: &Arc<Shared<T>>| {
            let (shared, handler) = (Arc::clone(shared), Arc::clone(&handler));
            let settings = &shared.settings;
            let (supervisor, origin) = (settings.supervisor.clone(), settings.origin);
            let name = settings.name.clone();
            // Made here: a process that is never polled, because its runtime ends, has ended as well.
            let draining = Draining { shared, ended: false };
            super::begin(&supervisor, &name, origin, drain(draining, handler))
        };
        Queue { shared, drain: Arc::new(drain) }
    }
}

struct State<T> {
    items: VecDeque<T>,
    /// A process is working the queue off, and will see what is put in.
    draining: bool,
}

struct Shared<T> {
    room: Semaphore,
    state: Mutex<State<T>>,
    more: Notify,
    settings: QueueBuilder,
}

/// Starts the process that works the queue off.
type Drain<T> = dyn Fn(&Arc<Shared<T>>) -> Background<()> + Send + Sync;

/// A bounded queue that is worked off in the background: see [`queue`]. Clones are the same queue.
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
    drain: Arc<Drain<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), drain: Arc::clone(&self.drain) }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.shared.settings.name).field("len", &self.len()).finish()
    }
}

impl<T> Queue<T> {
    /// How many items wait.
    pub fn len(&self) -> usize {
        lock(&self.shared.state).items.len()
    }

    /// Does none wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an item in, waiting while the queue is full.
    ///
    /// # Errors
    /// [`Refused::ShuttingDown`] with the item, once the supervisor is shutting down.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn push(&self, item: T) -> Result<(), Refused<T>> {
        let _runtime = Handle::current();
        let supervisor = &self.shared.settings.supervisor;
        tokio::select! {
            biased;
            () = supervisor.shutting_down() => return Err(Refused::ShuttingDown(item)),
            permit = self.shared.room.acquire() => if let Ok(permit) = permit { permit.forget() },
        }
        self.put(item)
    }

    /// Puts an item in if there is room.
    ///
    /// # Errors
    /// [`Refused`] with the item, if the queue is full or the supervisor is shutting down.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn try_push(&self, item: T) -> Result<(), Refused<T>> {
        let _runtime = Handle::current();
        if self.shared.settings.supervisor.is_shutting_down() {
            return Err(Refused::ShuttingDown(item));
        }
        match self.shared.room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(Refused::Full(item)),
        }
        self.put(item)
    }

    fn put(&self, item: T) -> Result<(), Refused<T>> {
        let supervisor = &self.shared.settings.supervisor;
        // Whoever shuts down either waits for what is put in here, or has begun to, and it is refused.
        let _hold = supervisor.running_list().hold();
        let start = {
            let mut state = lock(&self.shared.state);
            if supervisor.is_shutting_down() {
                self.shared.room.add_permits(1);
                return Err(Refused::ShuttingDown(item));
            }
            state.items.push_back(item);
            !std::mem::replace(&mut state.draining, true)
        };
        if start {
            // Its end is reported by itself.
            drop((self.drain)(&self.shared));
        } else {
            self.shared.more.notify_one();
        }
        Ok(())
    }
}

/// Marks the queue as not being drained, should the process end before its time.
struct Draining<T> {
    shared: Arc<Shared<T>>,
    ended: bool,
}

impl<T> Draining<T> {
    /// Ends the draining if there is nothing to drain. Who puts something in after this starts a new process.
    fn end_if_empty(&mut self) -> bool {
        let mut state = lock(&self.shared.state);
        self.ended = state.items.is_empty();
        state.draining = !self.ended;
        self.ended
    }
}

impl<T> Drop for Draining<T> {
    fn drop(&mut self) {
        if !self.ended {
            lock(&self.shared.state).draining = false;
        }
    }
}

async fn drain<T, F, Fut>(mut draining: Draining<T>, handler: Arc<F>)
where
    F: Fn(T) -> Fut,
    Fut: Future,
    Fut::Output: Outcome,
{
    let shared = Arc::clone(&draining.shared);
    let QueueBuilder { name, origin, idle, supervisor, .. } = &shared.settings;
    loop {
        let next = lock(&shared.state).items.pop_front();
        if let Some(item) = next {
            shared.room.add_permits(1);
            spawn::guarded(name, origin, async { handler(item).await }).await;
            continue;
        }
        let more = tokio::select! {
            () = shared.more.notified() => true,
            () = tokio::time::sleep(*idle) => false,
            () = supervisor.shutting_down() => false,
        };
        if !more && draining.end_if_empty() {
            return;
        }
    }
}

//! Listening to events.
//!
//! A listener is a loop, and its handlers, each a background process of its own. What the loop knows, nobody else touches;
//! [its own page](engine) says how it works and why nothing waits in a circle.

mod attempt;
mod delivered;
mod engine;
mod figures;
mod handler;
mod listener;
mod names;
mod on_error;
mod shared;
mod start;

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use crate::bus::{Bus, Inner};
use crate::error::ListenError;
use crate::event::Event;
use crate::schema::Check;
use crate::transport::Since;

pub use delivered::Delivered;
pub use handler::{BlockingEventHandler, EventHandler};
pub use listener::{Listener, ListenerState, StopReason};
pub(crate) use names::ListenerNames;
pub use on_error::{OnError, Retry};

use handler::{AnyHandler, Async, Blocking};
use shared::Rules;

impl Bus {
    /// Listens to an event, under a name: `sender` of the service `presence` is one group, however many instances of the
    /// service run. Each event goes to one of them, at least once, and is acknowledged after its handler.
    ///
    /// The handler is an async function of the event, or of the event and [`Delivered`]. Each run of it is a background
    /// process with a context of its own (`presence.changed-sender-812`), that belongs to the request which the event was
    /// fired for. It may do anything, also fire what it listens to.
    ///
    /// Nothing is listened to before [`start`](Listen::start).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use logcontext_bus::transport::Memory;
    /// use logcontext_bus::{Bus, BusConfig, Delivered, Event, StopReason};
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Stored {
    ///     file: String,
    /// }
    ///
    /// impl Event for Stored {
    ///     const NAME: &str = "file.stored";
    /// }
    ///
    /// let bus = Bus::over(&BusConfig::new("files", "memory:"), &Memory::new())?;
    /// let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    /// let handler = move |stored: Stored, about: Delivered| {
    ///     let tell = tell.clone();
    ///     async move { tell.send((stored.file, about.deliveries())) }
    /// };
    /// let listener = bus.listen("indexer", handler).start().await?;
    /// bus.fire(&Stored { file: "a.txt".to_owned() }).await?;
    /// assert_eq!(told.recv().await, Some(("a.txt".to_owned(), 1)));
    /// assert_eq!(listener.group(), "files:indexer");
    ///
    /// listener.stop();
    /// assert_eq!(listener.stopped().await, StopReason::Asked);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn listen<A: 'static>(&self, name: &str, handler: impl EventHandler<A>) -> Listen {
        self.listener(name, |inner| of_event(inner, Async(Arc::new(handler), PhantomData)))
    }

    /// The same with a function that blocks: it runs on a thread that is there for it, may wait for anything, and may
    /// start a runtime of its own. It cannot be aborted: where that is said, it goes on, and its end counts for nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use logcontext_bus::transport::Memory;
    /// use logcontext_bus::{Bus, BusConfig, Event};
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Stored {
    ///     file: String,
    /// }
    ///
    /// impl Event for Stored {
    ///     const NAME: &str = "file.stored";
    /// }
    ///
    /// let bus = Bus::over(&BusConfig::new("files", "memory:"), &Memory::new())?;
    /// let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    /// let fires = bus.clone();
    /// let handler = move |stored: Stored| {
    ///     if stored.file == "a.txt" {
    ///         fires.fire(&Stored { file: "b.txt".to_owned() }).blocking()?;
    ///     }
    ///     let _ = tell.send(stored.file);
    ///     Ok::<(), logcontext_bus::FireError>(())
    /// };
    /// bus.listen_blocking::<Stored>("copier", handler).slots(1).start().await?;
    /// bus.fire(&Stored { file: "a.txt".to_owned() }).await?;
    /// assert_eq!(told.recv().await.as_deref(), Some("a.txt"));
    /// assert_eq!(told.recv().await.as_deref(), Some("b.txt"));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn listen_blocking<A: 'static>(&self, name: &str, handler: impl BlockingEventHandler<A>) -> Listen {
        self.listener(name, |inner| of_blocking(inner, Blocking(Arc::new(handler), PhantomData)))
    }

    #[track_caller]
    fn listener(&self, name: &str, what: impl FnOnce(&Inner) -> What) -> Listen {
        let inner = Arc::clone(self.inner());
        let what = what(&inner);
        Listen {
            inner,
            name: name.into(),
            called: None,
            what,
            origin: Location::caller(),
            on_error: OnError::default(),
            retry: Retry::NEVER,
            slots: 16,
            hold: None,
            is_ordered: false,
            is_partitioned: false,
            is_everywhere: false,
            max_deliveries: 5,
            since: Since::Now,
        }
    }
}

fn of_event<A: 'static, H: EventHandler<A>>(inner: &Inner, handler: Async<A, H>) -> What {
    What::new::<H::Event>(inner, Box::new(handler))
}

fn of_blocking<A: 'static, H: BlockingEventHandler<A>>(inner: &Inner, handler: Blocking<A, H>) -> What {
    What::new::<H::Event>(inner, Box::new(handler))
}

/// What is listened to, and by whom.
struct What {
    event: &'static str,
    version: u32,
    partitions: u16,
    check: Arc<Check>,
    handler: Box<dyn AnyHandler>,
}

impl What {
    fn new<E: Event>(inner: &Inner, handler: Box<dyn AnyHandler>) -> Self {
        Self {
            event: E::NAME,
            version: E::VERSION,
            partitions: E::PARTITIONS,
            check: inner.checks.of::<E>(),
            handler,
        }
    }
}

/// A listener in the making: see [`Bus::listen`].
#[must_use = "nothing is listened to before `start`"]
pub struct Listen {
    inner: Arc<Inner>,
    name: Arc<str>,
    called: Option<Box<str>>,
    what: What,
    origin: &'static Location<'static>,
    on_error: OnError,
    retry: Retry,
    slots: usize,
    hold: Option<usize>,
    is_ordered: bool,
    is_partitioned: bool,
    is_everywhere: bool,
    max_deliveries: u32,
    since: Since,
}

impl Listen {
    /// What becomes of an event whose handler fails: a [dead letter](OnError::DeadLetter) unless told otherwise.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// How often a handler that has failed is tried again before that: [never](Retry::NEVER) unless told otherwise.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// So many handlers run at once: 16 unless told otherwise.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// So many events are taken at once, to run or to wait for their turn: as many as there are slots unless told
    /// otherwise; eight times as many where the order is kept, so that one key's events do not keep all others away.
    pub fn hold(mut self, hold: usize) -> Self {
        self.hold = Some(hold);
        self
    }

    /// Keeps the order of events that have a [key](Event::key) in common, within this listener: the next one begins when
    /// the one before is done, its retries included. What other instances of the service are given is theirs.
    pub fn in_order(mut self) -> Self {
        self.is_ordered = true;
        self
    }

    /// Keeps the order of keys across all instances of the service: each [partition](Event::PARTITIONS) is leased by one
    /// of them at a time, and they share them. One whose lease is over aborts its handlers, before another begins;
    /// blocking ones cannot be aborted.
    pub fn partitioned(mut self) -> Self {
        self.is_partitioned = true;
        self.in_order()
    }

    /// Each process of the service hears each event: its group is its own ([`Listener::group`]), begins now, and is forgotten
    /// when the listener ends; if its process dies, some time after it gave its last sign, which is four times
    /// [`claim_after`](crate::BusConfig::claim_after). Who gave none for so long and is not dead may be given again what it
    /// had, or miss what was fired meanwhile. As nobody will ever look at what is left of it, a handler's failure is
    /// [logged and acknowledged](OnError::AcknowledgeAndLog) unless told otherwise afterwards.
    ///
    /// For what each process keeps in memory: to forget what others have changed, to tell who follows it here.
    pub fn every_process(mut self) -> Self {
        self.is_everywhere = true;
        self.on_error(OnError::AcknowledgeAndLog)
    }

    /// Handlers' contexts are named by this and a number (`replication-PresenceChanged-12`), and totalled by it, instead of by
    /// the event and the listener.
    pub fn called(mut self, process: &str) -> Self {
        self.called = Some(process.into());
        self
    }

    /// What was delivered more often than this was never done, as its process died of it each time: it is a dead letter.
    /// 5 unless told otherwise.
    pub fn max_deliveries(mut self, max_deliveries: u32) -> Self {
        self.max_deliveries = max_deliveries;
        self
    }

    /// Where a new group begins: with what is fired [from now on](Since::Now) unless told otherwise.
    pub fn since(mut self, since: Since) -> Self {
        self.since = since;
        self
    }

    fn rules(&self) -> Result<Rules, ListenError> {
        let hold =
            self.hold.unwrap_or(if self.is_ordered { self.slots.saturating_mul(8) } else { self.slots });
        let wrong = |text: String| Err(ListenError::Setting(text));
        if self.slots == 0 {
            return wrong("slots is 0: expected at least 1".to_owned());
        }
        if hold < self.slots {
            return wrong(format!("hold is {hold}: expected at least slots, {}", self.slots));
        }
        if hold > tokio::sync::Semaphore::MAX_PERMITS {
            return wrong(format!(
                "hold is {hold}: expected at most {}",
                tokio::sync::Semaphore::MAX_PERMITS
            ));
        }
        if self.is_everywhere && self.is_partitioned {
            return wrong("partitions are shared: expected either partitioned or every_process".to_owned());
        }
        if self.max_deliveries == 0 {
            return wrong("max_deliveries is 0: expected at least 1".to_owned());
        }
        Ok(Rules {
            on_error: self.on_error,
            retry: self.retry,
            slots: self.slots,
            hold,
            is_ordered: self.is_ordered,
            is_partitioned: self.is_partitioned,
            max_deliveries: self.max_deliveries,
        })
    }
}

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen")
            .field("event", &self.what.event)
            .field("name", &self.name)
            .field("on_error", &self.on_error)
            .finish_non_exhaustive()
    }
}

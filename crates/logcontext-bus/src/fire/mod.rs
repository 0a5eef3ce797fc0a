//! Firing events.

mod figures;
mod known;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use logcontext::LogContext;

use crate::bus::{Bus, Inner};
use crate::error::{FireError, Waiting};
use crate::event::{Event, partition};
use crate::message::{EventHead, Message, Origin, WIRE, encode};
use crate::sender::sender;
use crate::transport::{EventId, Publish, TransportError};
use crate::within::{pause, waiting, within};

pub(crate) use known::{KnownEvent, KnownEvents, MAX_PARTITIONS};

impl Bus {
    /// Fires an event: every group that listens to it gets it, at least once. The event is read and checked now; it is
    /// sent when this is awaited. It is the current context's, by whose request its handlers are found. It completes once
    /// the broker has the event, and answers where.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use logcontext_bus::transport::{Memory, Page};
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
    /// let id = bus.fire(&Stored { file: "a.txt".to_owned() }).await?;
    /// let kept = bus.history("file.stored", Page { before: None, limit: 10 }).await?;
    /// assert_eq!((kept[0].id, &*kept[0].body), (id, r#"{"file":"a.txt"}"#));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`FireError`]. After [`Waiting::Broker`] the event may have been stored; after any other it was not.
    /// Dropping the future half-way leaves that open as well.
    ///
    /// In the sentinel it raises a diagnostic, [`CommandFromSentinel`](logcontext::diagnostics::DiagnosticKind), and the
    /// event is fired all the same.
    #[track_caller]
    #[doc(alias = "publish")]
    pub fn fire<E: Event>(&self, event: &E) -> Fire {
        let inner = Arc::clone(self.inner());
        let what = prepare(&inner, event, &sender(E::NAME, Location::caller()));
        let time = inner.config.fire_timeout;
        Fire { inner, what, time }
    }
}

/// An event that is about to be fired: await it, or say [`blocking`](Self::blocking).
#[must_use = "an event is fired by awaiting this, or by `blocking`"]
pub struct Fire {
    inner: Arc<Inner>,
    what: Result<(Arc<KnownEvent>, Publish), FireError>,
    time: Duration,
}

impl Fire {
    /// Waits so long for the broker at most; unless told otherwise as long as the
    /// [configuration](crate::BusConfig::fire_timeout) says.
    pub fn within(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// The same for sync code.
    ///
    /// # Errors
    /// The same.
    ///
    /// # Panics
    /// In async code: there it would block an executor.
    pub fn blocking(self) -> Result<EventId, FireError> {
        let runtime = self.inner.runtime.clone();
        runtime.block_on(self.into_future())
    }
}

impl IntoFuture for Fire {
    type Output = Result<EventId, FireError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (known, publish) = self.what?;
            let begun = Instant::now();
            let result = fire(&self.inner, publish, self.time).await;
            match &result {
                Ok(_) => known.times.observe(begun.elapsed()),
                Err(_) => _ = known.failed.fetch_add(1, Relaxed),
            }
            result
        })
    }
}

impl fmt::Debug for Fire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.what.as_ref().map(|(known, _)| known.name);
        f.debug_struct("Fire").field("event", &event).field("within", &self.time).finish_non_exhaustive()
    }
}

/// Reads and checks it, and says whose it is.
pub(crate) fn prepare<E: Event>(
    inner: &Arc<Inner>,
    event: &E,
    sender: &LogContext,
) -> Result<(Arc<KnownEvent>, Publish), FireError> {
    let known = inner.events.of::<E>(inner)?;
    let refused = |error| {
        known.failed.fetch_add(1, Relaxed);
        error
    };
    let message = message(inner, event, &known, sender).map_err(refused)?;
    let partition = partition(event.key().as_deref(), E::PARTITIONS);
    Ok((known, Publish { event: E::NAME, partition, message }))
}

fn message<E: Event>(
    inner: &Inner,
    event: &E,
    known: &KnownEvent,
    sender: &LogContext,
) -> Result<Message, FireError> {
    let body = encode(event).map_err(FireError::Encode)?;
    known.check.check(&body).map_err(FireError::Invalid)?;
    let head = EventHead {
        wire: WIRE,
        event: E::NAME.into(),
        version: E::VERSION,
        id: format!("{:032x}", fastrand::u128(..)).into(),
        key: event.key().map(|key| key.into_owned().into()),
        origin: Origin::of(sender, &inner.identity),
    };
    let head = encode(&head).map_err(FireError::Encode)?;
    let message = Message { head, body };
    let limit = inner.config.max_message;
    if message.len() > limit {
        return Err(FireError::TooLarge { size: message.len(), limit });
    }
    Ok(message)
}

/// The first pause before an event is sent again, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

async fn fire(inner: &Inner, event: Publish, time: Duration) -> Result<EventId, FireError> {
    let mut was_lost = false;
    let sent = within(&inner.runtime, time, async {
        let mut next = PAUSES[0];
        loop {
            match inner.transport.events().publish(event.clone()).await {
                // It may have been stored: then it comes twice, with the same id.
                Err(TransportError::Lost(_)) => was_lost = true,
                result => return result,
            }
            pause(&inner.runtime, next).await;
            next = (next * 2).min(PAUSES[1]);
            inner.transport.connected().await?;
        }
    });
    match sent.await {
        Some(Ok(id)) => Ok(id),
        Some(Err(TransportError::Refused(why))) => Err(FireError::Refused(why)),
        Some(Err(_)) => Err(FireError::Closed),
        // Nobody can say that it was not stored.
        None if was_lost => Err(FireError::Timeout { after: time, waiting: Waiting::Broker }),
        None => Err(FireError::Timeout { after: time, waiting: waiting(&*inner.transport) }),
    }
}

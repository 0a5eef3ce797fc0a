//! What the broker keeps: how far groups are behind, what was fired, what could not be handled.

use std::future::Future;
use std::time::{Duration, SystemTime};

use crate::bus::Bus;
use crate::error::Waiting;
use crate::message::{EventHead, Message, decode, printable};
use crate::name::{self, InvalidName};
use crate::transport::{EventId, EventLog, Lag, Page, TransportError};
use crate::within::{waiting, within};

/// The broker has not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// There was no more time. Waiting for the broker, it may have been done.
    #[error("waited {after:?} {waiting}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// What for.
        waiting: Waiting,
    },
    /// The broker has refused it.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// The connection was lost on the way: it may have been done.
    #[error("the connection to the broker was lost ({0})")]
    Lost(std::sync::Arc<str>),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

impl From<TransportError> for BrokerError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Closed => Self::Closed,
            TransportError::Lost(why) => Self::Lost(why),
            TransportError::Refused(why) => Self::Refused(why),
        }
    }
}

/// An event that was fired, and is still kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastEvent {
    /// Where it is.
    pub id: EventId,
    /// In which partition.
    pub partition: u16,
    /// When the broker got it, by its own clock.
    pub at: SystemTime,
    /// The bus that has fired it; `None` if that cannot be read.
    pub sender: Option<Box<str>>,
    /// What must stay in order with it.
    pub key: Option<Box<str>>,
    /// The event as JSON, as it is: what others have written may be anything.
    pub body: String,
}

/// An event that a group could not handle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuriedEvent {
    /// What to ask for it by.
    pub id: EventId,
    /// When it became a dead letter, by the broker's clock.
    pub at: SystemTime,
    /// The group: see [`Listener::group`](crate::Listener::group).
    pub group: Box<str>,
    /// Why, on one line.
    pub reason: String,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// The bus that has fired it; `None` if that cannot be read.
    pub sender: Option<Box<str>>,
    /// The event as JSON, as it is: what others have written may be anything.
    pub body: String,
}

impl Bus {
    /// The names of all events that the broker has streams of, sorted.
    ///
    /// # Errors
    /// Those of [`BrokerError`], as for all that asks the broker: it is waited for as long as for the answer to
    /// [a call](crate::BusConfig::call_timeout).
    pub async fn events(&self) -> Result<Vec<String>, BrokerError> {
        self.ask(|log| log.events()).await
    }

    /// The groups of an event, sorted.
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn groups(&self, event: &str) -> Result<Vec<String>, BrokerError> {
        name::check("an event", event)?;
        self.ask(|log| log.groups(event)).await
    }

    /// How far a group is behind.
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn lag(&self, event: &str, group: &str) -> Result<Lag, BrokerError> {
        name::check("an event", event)?;
        self.ask(|log| log.lag(event, group)).await
    }

    /// Forgets a group that nobody is in any more, so that nothing is kept for it. Answers whether there was one.
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn forget_group(&self, event: &str, group: &str) -> Result<bool, BrokerError> {
        name::check("an event", event)?;
        self.ask(|log| log.forget_group(event, group)).await
    }

    /// What was fired, the newest first.
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn history(&self, event: &str, page: Page) -> Result<Vec<PastEvent>, BrokerError> {
        name::check("an event", event)?;
        let stored = self.ask(|log| log.history(event, page)).await?;
        let past = stored.into_iter().map(|stored| {
            let (sender, key) = head(&stored.message);
            let (id, partition, at) = (stored.id, stored.partition, stored.at);
            PastEvent { id, partition, at, sender, key, body: body(&stored.message) }
        });
        Ok(past.collect())
    }

    /// The dead letters of an event, the oldest first: see [`OnError::DeadLetter`](crate::OnError::DeadLetter).
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
    /// let listener = bus.listen("indexer", |_: Stored| async { Err::<(), _>("no index") }).start().await?;
    /// bus.fire(&Stored { file: "a.txt".to_owned() }).await?;
    /// while bus.dead_letter_count("file.stored").await? == 0 {
    ///     tokio::task::yield_now().await;
    /// }
    /// let letters = bus.dead_letters("file.stored", 10).await?;
    /// assert_eq!((&*letters[0].group, &*letters[0].reason), ("files:indexer", "no index"));
    /// assert!(bus.drop_dead_letter("file.stored", letters[0].id).await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn dead_letters(&self, event: &str, limit: usize) -> Result<Vec<BuriedEvent>, BrokerError> {
        name::check("an event", event)?;
        let letters = self.ask(|log| log.dead_letters(event, limit)).await?;
        let buried = letters.into_iter().map(|(id, at, letter)| BuriedEvent {
            id,
            at,
            group: (*letter.group).into(),
            reason: letter.reason,
            deliveries: letter.deliveries,
            sender: head(&letter.message).0,
            body: body(&letter.message),
        });
        Ok(buried.collect())
    }

    /// How many there are.
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn dead_letter_count(&self, event: &str) -> Result<u64, BrokerError> {
        name::check("an event", event)?;
        self.ask(|log| log.dead_letter_count(event)).await
    }

    /// Gives a dead letter to its group again, as if it was new. Answers whether there was one.
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn retry_dead_letter(&self, event: &str, id: EventId) -> Result<bool, BrokerError> {
        name::check("an event", event)?;
        self.ask(|log| log.retry_dead_letter(event, id)).await
    }

    /// Forgets a dead letter. Answers whether there was one.
    ///
    /// # Errors
    /// Those of [`BrokerError`].
    pub async fn drop_dead_letter(&self, event: &str, id: EventId) -> Result<bool, BrokerError> {
        name::check("an event", event)?;
        self.ask(|log| log.drop_dead_letter(event, id)).await
    }

    async fn ask<'a, T, F>(&'a self, question: impl FnOnce(&'a dyn EventLog) -> F) -> Result<T, BrokerError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        let inner = self.inner();
        let after = inner.config.call_timeout;
        match within(&inner.runtime, after, question(inner.transport.log())).await {
            Some(answer) => Ok(answer?),
            None => Err(BrokerError::Timeout { after, waiting: waiting(&*inner.transport) }),
        }
    }
}

/// Sender and key, if there is a head.
fn head(message: &Message) -> (Option<Box<str>>, Option<Box<str>>) {
    match decode::<EventHead>(&message.head) {
        Ok(head) => (Some(printable(&head.origin.sender)), head.key),
        Err(_) => (None, None),
    }
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

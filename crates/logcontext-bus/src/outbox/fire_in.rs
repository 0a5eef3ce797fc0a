//! Storing an event with the data.

use std::future::Future;
use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;

use logcontext_db::Txn;

use super::entry::lane;
use super::error::FireInError;
use super::statements::Statements;
use crate::bus::Bus;
use crate::event::Event;
use crate::fire::{KnownEvent, prepare};
use crate::sender::sender;
use crate::transport::Publish;

impl Bus {
    /// Fires an event if this transaction is committed: it is stored in the [outbox](crate::Outbox) of the transaction's
    /// database, and sent from there. The event is read and checked now; it is written when this is awaited. It is the
    /// current context's, by whose request its handlers are found.
    ///
    /// Those of one key come in the order in which their transactions changed what they have in common: fire after the
    /// statement that makes the row yours, not before it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::borrow::Cow;
    /// use std::time::Duration;
    ///
    /// use logcontext::{FutureExt, LogContext};
    /// use logcontext_bus::{Bus, BusConfig, Event, FireInError, Outbox};
    /// use logcontext_db::Database;
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
    ///
    ///     fn key(&self) -> Option<Cow<'_, str>> {
    ///         Some(Cow::Borrowed(&self.file))
    ///     }
    /// }
    ///
    /// let work = async {
    ///     let database = Database::open("sqlite::memory:").await?;
    ///     let bus = Bus::connect(&BusConfig::new("files", "memory:")).await?;
    ///     let outbox = Outbox::open(&bus, &database).await?;
    ///     let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    ///     let listener = bus.listen::<Stored>("index", move |stored: Stored| {
    ///         std::future::ready(tell.send(stored.file))
    ///     });
    ///     listener.start().await?;
    ///
    ///     let bus = &bus;
    ///     database
    ///         .run_interaction("store", |mut txn| async move {
    ///             txn.execute_script("CREATE TABLE files (name TEXT PRIMARY KEY)").await?;
    ///             txn.execute("INSERT INTO files VALUES ($1)", ("a.txt",)).await?;
    ///             bus.fire_in(&mut txn, &Stored { file: "a.txt".to_owned() }).await?;
    ///             Ok::<(), FireInError>(())
    ///         })
    ///         .await?;
    ///     assert_eq!(told.recv().await.as_deref(), Some("a.txt"));
    ///
    ///     outbox.close(Duration::from_secs(5)).await;
    ///     bus.close(Duration::from_secs(5)).await;
    ///     database.close(Duration::from_secs(5)).await;
    ///     Ok(())
    /// };
    /// work.in_context(LogContext::new("PUT-1")).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`FireInError`]. The closure should give the transaction up then, by handing the error on: the data would be
    /// stored without its event.
    ///
    /// In the sentinel it raises a diagnostic, [`CommandFromSentinel`](logcontext::diagnostics::DiagnosticKind), and the
    /// event is stored all the same.
    #[track_caller]
    pub fn fire_in<E: Event>(
        &self,
        txn: &mut Txn,
        event: &E,
    ) -> impl Future<Output = Result<(), FireInError>> + Send {
        let inner = self.inner();
        let prepared = prepare(inner, event, &sender(E::NAME, Location::caller()));
        let lane = lane(E::NAME, event.key().as_deref());
        async move {
            if inner.outboxes.are_none() {
                return Err(FireInError::NoOutbox);
            }
            let (known, publish) = prepared?;
            store(txn, publish, lane).await.map_err(|error| failed(&known, error))?;
            let wakers = inner.outboxes.clone();
            txn.after_commit(move || wakers.wake());
            Ok(())
        }
    }
}

async fn store(txn: &mut Txn, publish: Publish, lane: i64) -> Result<(), logcontext_db::Error> {
    let Publish { event, partition, message } = publish;
    let size = i64::try_from(message.len()).unwrap_or(i64::MAX);
    let insert = Statements::of(txn.backend()).insert;
    let (head, body) = (message.head.to_vec(), message.body.to_vec());
    txn.execute(insert, (event, i64::from(partition), lane, size, head, body)).await?;
    Ok(())
}

fn failed(known: &KnownEvent, error: logcontext_db::Error) -> FireInError {
    known.failed.fetch_add(1, Relaxed);
    FireInError::Database(error)
}

//! [`Outbox`]: events that are stored with the data, and sent from there.

mod backlog;
mod config;
mod entry;
mod error;
mod figures;
mod fire_in;
mod lease;
mod names;
mod refused;
mod relay;
mod send;
mod set_aside;
mod statements;
mod stop;
mod stopping;
mod wakers;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use logcontext::source::Source;
use logcontext::{Supervisor, background};
use logcontext_db::Database;
use tokio::sync::Notify;

use crate::bus::Bus;
use figures::Figures;
use relay::Relay;
use stop::Stop;

pub use config::OutboxConfig;
pub use error::{FireInError, OutboxError};
pub use set_aside::SetAside;
pub(crate) use wakers::Wakers;

/// Where events wait that were fired in transactions of a database, by [`Bus::fire_in`]: stored with the data, in one
/// transaction, so that there is never the one without the other; sent from there in the background, by one process at a
/// time; and forgotten once the broker has them. Cheap to clone.
///
/// Each event gets to the broker at least once. It is the same message however often it is sent, with the id, the origin and
/// the trace of when it was fired. Events of one key are sent one after the other, in the order of their transactions; those
/// without a key are, of each type, in order among themselves; all others side by side.
///
/// It has three tables in the database, all of which begin with `logcontext_outbox`.
///
/// The relay is a background process, `outbox_relay`, of the supervisor that was current when the outbox was opened. It goes
/// on until that shuts down, the bus is closed, or [`close`](Self::close) is called, also if this handle is dropped. An idea
/// of microservices.io, "Transactional outbox" and "Polling publisher".
///
/// The end of a service has an order: the shutdown of the supervisor, or [`close`](Self::close); then [`Bus::close`]; then
/// [`Database::close`]. Where the bus is closed first, what is left is sent by another process, or after the next start.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    database: Database,
    waker: Arc<Notify>,
    stop: Arc<Stop>,
    /// The supervisor has no hold on it.
    _figures: Option<Arc<dyn Source>>,
}

impl Outbox {
    /// Opens the outbox of this database for this bus: makes its tables where they are missing, and begins to send what is
    /// there, unless another process does. To be called in a context.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn open(bus: &Bus, database: &Database) -> impl Future<Output = Result<Self, OutboxError>> + Send {
        Self::begin(bus.clone(), database.clone(), OutboxConfig::default(), Location::caller())
    }

    /// The same, set up like this.
    ///
    /// # Errors
    /// If the configuration cannot be; and the database's.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn open_with(
        bus: &Bus,
        database: &Database,
        config: OutboxConfig,
    ) -> impl Future<Output = Result<Self, OutboxError>> + Send {
        Self::begin(bus.clone(), database.clone(), config, Location::caller())
    }

    /// The outbox of this database, for whoever looks after it: nothing is sent from here, and nothing is made. What is
    /// [brought back](Self::bring_back) is sent by the process that has the lease.
    ///
    /// ```
    /// use logcontext::{FutureExt, LogContext};
    /// use logcontext_bus::{Bus, BusConfig, Outbox, OutboxError};
    /// use logcontext_db::Database;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let work = async {
    /// let database = Database::open("sqlite::memory:").await.unwrap();
    /// assert!(matches!(Outbox::without_relay(&database).await, Err(OutboxError::Absent)));
    ///
    /// let bus = Bus::connect(&BusConfig::new("presence", "memory:")).await.unwrap();
    /// let _sends = Outbox::open(&bus, &database).await.unwrap();
    /// let looked_after = Outbox::without_relay(&database).await.unwrap();
    /// assert_eq!(looked_after.set_aside(10).await.unwrap(), []);
    /// # };
    /// # work.in_context(LogContext::new("command")).await;
    /// # }
    /// ```
    ///
    /// # Errors
    /// If there is none; and the database's.
    pub async fn without_relay(database: &Database) -> Result<Self, OutboxError> {
        if !statements::has_tables(database).await? {
            return Err(OutboxError::Absent);
        }
        let stop = Arc::new(Stop::default());
        // There is nothing that would have to end.
        drop(stop.running());
        Ok(Self(Arc::new(Inner { database: database.clone(), waker: Arc::default(), stop, _figures: None })))
    }

    async fn begin(
        bus: Bus,
        database: Database,
        config: OutboxConfig,
        origin: &'static Location<'static>,
    ) -> Result<Self, OutboxError> {
        config.check()?;
        statements::make_tables(&database).await?;
        let supervisor = Supervisor::current();
        let inner = bus.inner();
        let figures = Arc::new(Figures::new(&inner.config.service, database.name()));
        let source: Arc<dyn Source> = figures.clone();
        supervisor.register(&source);
        let (waker, stop) = (Arc::new(Notify::new()), Arc::new(Stop::default()));
        inner.outboxes.add(&waker);
        let running = stop.running();
        let relay = Relay::new(
            Arc::clone(inner),
            database.clone(),
            config,
            figures,
            Arc::clone(&waker),
            Arc::clone(&stop),
            supervisor.clone(),
        );
        drop(background::run_from(&supervisor, "outbox_relay", origin, async move {
            let _running = running;
            relay.run().await;
        }));
        Ok(Self(Arc::new(Inner { database, waker, stop, _figures: Some(source) })))
    }

    /// Ends the relay: sends what is there until the deadline, and lets the lease go, so that another process goes on at
    /// once. What is fired from then on stays in the database. To be called before [`Bus::close`].
    pub async fn close(&self, deadline: Duration) {
        self.0.stop.stop(deadline).await;
    }

    fn database(&self) -> &Database {
        &self.0.database
    }

    fn wake(&self) {
        self.0.waker.notify_one();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("database", &self.0.database).finish_non_exhaustive()
    }
}

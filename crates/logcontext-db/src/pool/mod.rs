//! [`Pool`]: connections that are waited for, used, and given back.
//!
//! Getting one is two steps: a place in the pool, which may have to be waited for, and a connection in that place,
//! which may have to be opened.

mod figures;
mod filling;
mod health;
mod held;
mod leaving;
mod lent;
mod places;
mod waiting;

use std::borrow::Borrow;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::task::Poll;
use std::time::{Duration, Instant};

use logcontext::LogContext;
use tokio::runtime::Handle;

use crate::Error;
use crate::connection::{Connection, Opener};
use crate::error::Class;
use crate::interaction::held_around;
use crate::settings::Settings;

pub(crate) use figures::{PoolFigures, collect, describe};
use filling::Unfilled;
use health::Health;
pub(crate) use held::Held;
use lent::Lent;
use places::{Closed, Place, Places};
use waiting::Queue;
pub use waiting::Waiting;

/// Between two tries to connect: from this on, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Pool {
    pub(crate) name: Arc<str>,
    database: Arc<str>,
    places: Places,
    opener: Opener,
    queue: Queue,
    pub(crate) figures: Arc<PoolFigures>,
    pub(crate) settings: Arc<Settings>,
    closed: AtomicBool,
    /// Once there has been a connection.
    filled: AtomicBool,
    told_of_loss: AtomicBool,
    health: Health,
}

impl Pool {
    pub(crate) fn new(name: Arc<str>, database: Arc<str>, size: usize, opener: Opener) -> Arc<Self> {
        let settings = Arc::clone(&opener.settings);
        let figures = Arc::new(PoolFigures::default());
        let queue =
            Queue::new(Arc::clone(&database), Arc::clone(&name), settings.slow_wait, Arc::clone(&figures));
        Arc::new(Self {
            name,
            database,
            places: Places::new(size.max(1)),
            opener,
            queue,
            figures,
            settings,
            closed: AtomicBool::new(false),
            filled: AtomicBool::new(false),
            told_of_loss: AtomicBool::new(false),
            health: Health::default(),
        })
    }

    /// A connection for the context, if one is idle and nobody waits for it: nearly always so.
    #[inline]
    pub(crate) fn acquire_at_once<C>(self: &Arc<Self>, context: &C) -> Option<Held<C>>
    where
        C: Borrow<LogContext> + Clone,
    {
        let now = Instant::now();
        let lent = self.idle_at_once(now)?;
        self.figures.waits.observe(Duration::ZERO);
        Some(Held::new(lent, context.clone(), now))
    }

    /// A connection for a transaction of this name, as soon as there is one. What is waited for one is recorded for
    /// the context; connecting and looking whether it is alive are not waiting.
    pub(crate) async fn acquire<C>(
        self: &Arc<Self>,
        context: &C,
        transaction: &'static str,
    ) -> Result<Held<C>, Error>
    where
        C: Borrow<LogContext> + Clone,
    {
        if let Some(held) = self.acquire_at_once(context) {
            return Ok(held);
        }
        let deadline = after(Instant::now(), self.settings.acquire_timeout);
        // In a box: it is seldom needed, and whoever gets a connection at once need not make room for it.
        let acquiring = Box::pin(self.acquire_until(context.borrow(), transaction, deadline, deadline));
        let (lent, since) = acquiring.await?;
        Ok(Held::new(lent, context.clone(), since))
    }

    /// The same, but a server that is not there is tried again for so long only; once in any case.
    pub(crate) async fn acquire_within(
        self: &Arc<Self>,
        context: &LogContext,
        transaction: &'static str,
        reachable: Duration,
    ) -> Result<Held, Error> {
        let start = Instant::now();
        let deadline = after(start, self.settings.acquire_timeout.max(reachable));
        let (lent, since) =
            self.acquire_until(context, transaction, deadline, after(start, reachable)).await?;
        Ok(Held::new(lent, context.clone(), since))
    }

    async fn acquire_until(
        self: &Arc<Self>,
        context: &LogContext,
        transaction: &'static str,
        deadline: Instant,
        reachable: Instant,
    ) -> Result<(Lent, Instant), Error> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let place = match Place::at_once(self) {
                Ok(Some(place)) => {
                    if tries == 0 {
                        self.figures.waits.observe(Duration::ZERO);
                    }
                    place
                }
                Ok(None) => self.wait_in_line(context, transaction, deadline).await?,
                Err(Closed) => return Err(self.is_closed_error()),
            };
            tries += 1;
            let error = match within(deadline, self.fill(place)).await {
                Some(Ok(lent)) => return Ok((lent, Instant::now())),
                Some(Err(Unfilled::Driver(error))) => error,
                Some(Err(Unfilled::MemoryLost)) => return Err(self.memory_lost()),
                None => return Err(self.cannot_connect(tries, no_answer())),
            };
            let hopeless = !is_worth_another_try(&error, &self.opener);
            if hopeless || Instant::now() + pause >= reachable {
                return Err(self.cannot_connect(tries, error));
            }
            self.figures.connect_failures.fetch_add(1, Relaxed);
            tracing::debug!(target: "logcontext::db", %error, again_in = ?pause, "cannot connect");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn wait_in_line(
        self: &Arc<Self>,
        context: &LogContext,
        transaction: &'static str,
        deadline: Instant,
    ) -> Result<Place, Error> {
        self.look_for_ourselves(transaction)?;
        let limit = self.settings.queue_limit;
        let Some(_in_line) = self.queue.enter(context, transaction, limit) else {
            self.figures.queue_full.fetch_add(1, Relaxed);
            return Err(Error::QueueFull { pool: Arc::clone(&self.name), limit });
        };
        match within(deadline, Place::next(self)).await {
            Some(Ok(place)) => Ok(place),
            Some(Err(Closed)) => Err(self.is_closed_error()),
            None => Err(self.timed_out()),
        }
    }

    /// Who waits inside of interactions that hold all connections would do so until the acquire timeout.
    fn look_for_ourselves(&self, inner: &'static str) -> Result<(), Error> {
        let Some((held, outer)) = held_around(self) else { return Ok(()) };
        if held >= self.capacity() {
            return Err(Error::Nested { pool: Arc::clone(&self.name), outer, inner });
        }
        Ok(())
    }

    fn timed_out(&self) -> Error {
        self.figures.timeouts.fetch_add(1, Relaxed);
        Error::AcquireTimeout { pool: Arc::clone(&self.name), limit: self.settings.acquire_timeout }
    }

    fn cannot_connect(&self, tries: u32, source: sqlx::Error) -> Error {
        self.figures.connect_failures.fetch_add(1, Relaxed);
        Error::Connect { database: Arc::clone(&self.database), tries, source }
    }

    /// Another connection to memory would be to another database, which is empty.
    fn memory_lost(&self) -> Error {
        let error = Error::MemoryLost { database: Arc::clone(&self.database) };
        if !self.told_of_loss.swap(true, Relaxed) {
            tracing::error!(target: "logcontext::db", "{error}");
        }
        error
    }

    fn is_closed_error(&self) -> Error {
        self.figures.closed.fetch_add(1, Relaxed);
        Error::Closed { database: Arc::clone(&self.database) }
    }

    /// Is it the only connection to something in memory?
    pub(crate) fn is_private(&self) -> bool {
        self.opener.address.is_in_memory()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// The runtime of whoever calls this; the database's own for those outside any.
    fn runtime(&self) -> Handle {
        self.opener.runtime()
    }

    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.queue.list()
    }

    /// How many connections are idle, and how many in use.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.places.counts()
    }

    pub(crate) fn max_size(&self) -> usize {
        self.places.size()
    }

    /// The same, closed or not.
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Closes the connections that nobody has used for so long.
    pub(crate) async fn reap(&self, idle: Duration) -> usize {
        let removed = self.places.remove(|connection| connection.used.elapsed() >= idle);
        let count = removed.len();
        close_all(removed).await;
        count
    }

    /// Gives out no more connections, refuses who waits for one, and hands over those that are idle. Those in use are
    /// closed when they are given back.
    pub(crate) fn close(&self) -> Vec<Connection> {
        self.closed.store(true, SeqCst);
        self.places.close()
    }
}

/// Closes them all at once.
pub(crate) async fn close_all(connections: Vec<Connection>) {
    let closing = connections.into_iter().map(|mut connection| async move { connection.close().await });
    futures_util::future::join_all(closing).await;
}

fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer from the server in time"))
}

/// A server that is starting, or restarting, or full, will be there soon; one that does not know us will not.
fn is_worth_another_try(error: &sqlx::Error, opener: &Opener) -> bool {
    match error {
        // Also where a socket is not found: it goes with the server, and comes again with it.
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(inner) => {
            matches!(inner.code().as_deref(), Some("53300" | "57P03"))
                || matches!(Class::of(error, opener.backend()), Class::Conflict | Class::Lost)
        }
        _ => false,
    }
}

/// So long after that: a clock has an end, and some limits are meant to be none.
fn after(start: Instant, limit: Duration) -> Instant {
    start.checked_add(limit).unwrap_or_else(|| start + Duration::from_secs(30 * 365 * 86_400))
}

/// What the future answers, if it does until then. A timer is only set where the future does not answer at once.
async fn within<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout_at(deadline.into(), future).await.ok(),
    }
}

//! [`Pool`]: connections that are waited for, used, and given back.
//!
//! deadpool keeps them; what it does not tell is told here: who waits, since when, and when the waiting was over.

mod connections;
mod figures;
mod health;
mod held;
mod leaving;
mod waiting;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::task::Poll;
use std::time::{Duration, Instant};

use deadpool::managed::{self, PoolError, TimeoutType, Timeouts};
use logcontext::LogContext;
use tokio::runtime::Handle;

use crate::Error;
use crate::connection::{Connection, Opener};
use crate::error::Class;
use crate::settings::Settings;

pub(crate) use connections::Connections;
pub(crate) use figures::{PoolFigures, collect, describe};
use health::Health;
pub(crate) use held::Held;
pub use waiting::Waiting;
use waiting::{Queue, WAITER};

type Object = managed::Object<Connections>;

const AT_ONCE: Timeouts = Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };
const WHENEVER: Timeouts = Timeouts { wait: None, create: None, recycle: None };

/// Between two tries to connect: from this on, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Pool {
    pub(crate) name: Arc<str>,
    database: Arc<str>,
    objects: managed::Pool<Connections>,
    queue: Queue,
    pub(crate) figures: Arc<PoolFigures>,
    pub(crate) settings: Arc<Settings>,
    closed: AtomicBool,
    health: Arc<Health>,
}

impl Pool {
    pub(crate) fn new(name: Arc<str>, database: Arc<str>, size: usize, opener: Opener) -> Arc<Self> {
        let settings = Arc::clone(&opener.settings);
        let figures = Arc::new(PoolFigures::default());
        let health = Arc::new(Health::default());
        let connections = Connections::new(opener, Arc::clone(&figures), Arc::clone(&health));
        let objects = managed::Pool::builder(connections)
            .max_size(size.max(1))
            // The one used last is the likeliest to be warm, and the others may become idle.
            .queue_mode(managed::QueueMode::Lifo)
            .build()
            .expect("no timeouts are given, so no runtime is needed");
        let queue =
            Queue::new(Arc::clone(&database), Arc::clone(&name), settings.slow_wait, Arc::clone(&figures));
        Arc::new(Self {
            name,
            database,
            objects,
            queue,
            figures,
            settings,
            closed: AtomicBool::new(false),
            health,
        })
    }

    /// A connection for a transaction of this name, as soon as there is one. What is waited for one is recorded for
    /// the context; connecting and looking whether it is alive are not waiting.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        context: &LogContext,
        transaction: &'static str,
    ) -> Result<Held, Error> {
        let deadline = after(Instant::now(), self.settings.acquire_timeout);
        self.acquire_until(context, transaction, deadline, deadline).await
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
        self.acquire_until(context, transaction, deadline, after(start, reachable)).await
    }

    async fn acquire_until(
        self: &Arc<Self>,
        context: &LogContext,
        transaction: &'static str,
        deadline: Instant,
        reachable: Instant,
    ) -> Result<Held, Error> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let error = match within(deadline, self.objects.timeout_get(&AT_ONCE)).await {
                Some(Err(PoolError::Timeout(TimeoutType::Wait))) => {
                    self.wait_in_line(context, transaction, deadline).await?
                }
                got => {
                    if tries == 0 && !matches!(got, Some(Err(PoolError::Closed))) {
                        self.figures.waits.observe(Duration::ZERO);
                    }
                    got
                }
            };
            tries += 1;
            let error = match error {
                Some(Ok(object)) => return Ok(Held::new(object, self, context)),
                Some(Err(PoolError::Backend(error))) => error,
                Some(Err(_)) => return Err(self.is_closed_error()),
                None => return Err(self.cannot_connect(tries, no_answer())),
            };
            let hopeless = !is_worth_another_try(&error, self.objects.manager().opener());
            if hopeless || Instant::now() + pause >= reachable {
                return Err(self.cannot_connect(tries, error));
            }
            self.figures.connect_failures.fetch_add(1, Relaxed);
            tracing::debug!(target: "logcontext::db", %error, again_in = ?pause, "cannot connect");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// `None` if a place became free in time, and a connection in it did not.
    async fn wait_in_line(
        &self,
        context: &LogContext,
        transaction: &'static str,
        deadline: Instant,
    ) -> Result<Option<Result<Object, PoolError<sqlx::Error>>>, Error> {
        let limit = self.settings.queue_limit;
        let Some(place) = self.queue.enter(context, transaction, limit) else {
            self.figures.queue_full.fetch_add(1, Relaxed);
            return Err(Error::QueueFull { pool: Arc::clone(&self.name), limit });
        };
        let getting = WAITER.scope(place.waiter(), self.objects.timeout_get(&WHENEVER));
        match within(deadline, getting).await {
            None if !place.is_granted() => Err(self.timed_out()),
            got => Ok(got),
        }
    }

    fn timed_out(&self) -> Error {
        self.figures.timeouts.fetch_add(1, Relaxed);
        Error::AcquireTimeout { pool: Arc::clone(&self.name), limit: self.settings.acquire_timeout }
    }

    fn cannot_connect(&self, tries: u32, source: sqlx::Error) -> Error {
        self.figures.connect_failures.fetch_add(1, Relaxed);
        Error::Connect { database: Arc::clone(&self.database), tries, source }
    }

    fn is_closed_error(&self) -> Error {
        self.figures.closed.fetch_add(1, Relaxed);
        Error::Closed { database: Arc::clone(&self.database) }
    }

    /// Is it the only connection to something in memory?
    pub(crate) fn is_private(&self) -> bool {
        self.objects.manager().opener().address.is_in_memory()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// The runtime of whoever calls this; the database's own for those outside any.
    fn runtime(&self) -> Handle {
        self.objects.manager().opener().runtime()
    }

    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.queue.list()
    }

    /// How many connections are idle, and how many in use.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let size = self.objects.status().size;
        // What deadpool says is available leaves out as many as there are waiting.
        let idle = self.objects.retain(|_, _| true).retained;
        (idle, size.saturating_sub(idle))
    }

    pub(crate) fn max_size(&self) -> usize {
        self.objects.status().max_size
    }

    /// Closes the connections that nobody has used for so long.
    pub(crate) async fn reap(&self, idle: Duration) -> usize {
        let removed = self.objects.retain(|connection, _| connection.used.elapsed() < idle).removed;
        let count = removed.len();
        close_all(removed.into_iter().map(|connection| *connection).collect()).await;
        count
    }

    /// Gives out no more connections, refuses who waits for one, and hands over those that are idle. Those in use are
    /// closed when they are given back.
    pub(crate) fn close(&self) -> Vec<Connection> {
        self.closed.store(true, SeqCst);
        let idle = self.objects.retain(|_, _| false).removed;
        self.objects.close();
        idle.into_iter().map(|connection| *connection).collect()
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

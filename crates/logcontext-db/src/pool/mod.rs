//! [`Pool`]: connections that are waited for, used, and given back.
//!
//! deadpool keeps them; what it does not tell is told here: who waits, since when, and when the waiting was over.

mod connections;
mod figures;
mod held;
mod waiting;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use deadpool::managed::{self, PoolError, TimeoutType, Timeouts};
use logcontext::LogContext;

use crate::Error;
use crate::connection::Opener;
use crate::error::Class;
use crate::settings::Settings;

pub(crate) use connections::Connections;
pub(crate) use figures::{PoolFigures, collect, describe};
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
    generation: Arc<AtomicU64>,
}

impl Pool {
    pub(crate) fn new(name: Arc<str>, database: Arc<str>, size: usize, opener: Opener) -> Arc<Self> {
        let settings = Arc::clone(&opener.settings);
        let figures = Arc::new(PoolFigures::default());
        let generation = Arc::new(AtomicU64::new(0));
        let connections = Connections::new(opener, Arc::clone(&figures), Arc::clone(&generation));
        let objects = managed::Pool::builder(connections)
            .max_size(size.max(1))
            // The one used last is the likeliest to be warm, and the others may become idle.
            .queue_mode(managed::QueueMode::Lifo)
            .build()
            .expect("no timeouts are given, so no runtime is needed");
        let queue = Queue::new(Arc::clone(&name), settings.slow_wait, Arc::clone(&figures));
        Arc::new(Self {
            name,
            database,
            objects,
            queue,
            figures,
            settings,
            closed: AtomicBool::new(false),
            generation,
        })
    }

    /// A connection, as soon as there is one. What is waited for one is recorded for the context; connecting and
    /// looking whether it is alive are not waiting.
    pub(crate) async fn acquire(self: &Arc<Self>, context: &LogContext) -> Result<Held, Error> {
        self.acquire_within(context, self.settings.acquire_timeout).await
    }

    /// The same, but a server that is not there is tried again for so long only; once in any case.
    pub(crate) async fn acquire_within(
        self: &Arc<Self>,
        context: &LogContext,
        reachable: Duration,
    ) -> Result<Held, Error> {
        let start = Instant::now();
        let deadline = start + self.settings.acquire_timeout;
        let reachable = start + reachable;
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let got = match within(deadline, self.objects.timeout_get(&AT_ONCE)).await {
                Some(Err(PoolError::Timeout(TimeoutType::Wait))) => self.wait_in_line(context, deadline).await?,
                Some(got) => {
                    self.figures.waits.observe(Duration::ZERO);
                    got
                }
                None => return Err(self.timed_out()),
            };
            match got {
                Ok(object) => return Ok(Held::new(object, self, context)),
                Err(PoolError::Backend(error)) => {
                    tries += 1;
                    self.figures.connect_failures.fetch_add(1, Relaxed);
                    let hopeless = !is_worth_another_try(&error, self.objects.manager().opener());
                    if hopeless || Instant::now() + pause >= reachable.min(deadline) {
                        let database = Arc::clone(&self.database);
                        return Err(Error::Connect { database, tries, source: error });
                    }
                    tracing::debug!(target: "logcontext::db", %error, again_in = ?pause, "cannot connect");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(_) => return Err(self.is_closed_error()),
            }
        }
    }

    async fn wait_in_line(
        &self,
        context: &LogContext,
        deadline: Instant,
    ) -> Result<Result<Object, PoolError<sqlx::Error>>, Error> {
        let Some(waiter) = self.queue.enter(context, self.settings.queue_limit) else {
            self.figures.refused.fetch_add(1, Relaxed);
            return Err(Error::QueueFull { pool: Arc::clone(&self.name), limit: self.settings.queue_limit });
        };
        let getting = WAITER.scope(waiter.clone_inner(), self.objects.timeout_get(&WHENEVER));
        let got = within(deadline, getting).await;
        drop(waiter);
        got.ok_or_else(|| self.timed_out())
    }

    fn timed_out(&self) -> Error {
        self.figures.timeouts.fetch_add(1, Relaxed);
        Error::AcquireTimeout { pool: Arc::clone(&self.name), limit: self.settings.acquire_timeout }
    }

    fn is_closed_error(&self) -> Error {
        Error::Closed { database: Arc::clone(&self.database) }
    }

    /// Is it the only connection to something in memory?
    pub(crate) fn is_private(&self) -> bool {
        self.objects.manager().opener().address.is_in_memory()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// A connection was found dead. The others may be as well: each is asked before it is used again.
    pub(crate) fn doubt(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.queue.list()
    }

    /// How many connections are idle, and how many in use.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let status = self.objects.status();
        (status.available, status.size - status.available)
    }

    pub(crate) fn max_size(&self) -> usize {
        self.objects.status().max_size
    }

    /// Closes the connections that nobody has used for so long.
    pub(crate) async fn reap(&self, idle: Duration) -> usize {
        let removed = self.objects.retain(|connection, _| connection.used.elapsed() < idle).removed;
        let count = removed.len();
        for mut connection in removed {
            connection.close().await;
        }
        count
    }

    /// Gives out no more connections, refuses who waits for one, and closes those that are idle. Those in use are
    /// closed when they are given back.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Relaxed);
        let idle = self.objects.retain(|_, _| false).removed;
        self.objects.close();
        for mut connection in idle {
            connection.close().await;
        }
    }
}

/// A server that is starting, or restarting, or full, will be there soon; one that does not know us will not.
fn is_worth_another_try(error: &sqlx::Error, opener: &Opener) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::NotFound,
        sqlx::Error::Database(inner) => {
            matches!(inner.code().as_deref(), Some("53300" | "57P03"))
                || matches!(Class::of(error, opener.backend()), Class::Conflict | Class::Lost)
        }
        _ => false,
    }
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

//! What a supervisor has running in the background, and how it is told to end.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;
use crate::context::LogContext;
use crate::supervisor::Supervisor;
use crate::sync::Stepwise;
use crate::usage::ResourceUsage;

/// Something that was fired off and has not ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running {
    /// The context it runs in.
    pub context: LogContext,
    /// What it is called; the context's name where it runs in the caller's.
    pub name: Arc<str>,
    /// The line of code that started it.
    pub origin: &'static Location<'static>,
    /// How long it has been running.
    pub age: Duration,
    /// What its context has cost so far.
    pub usage: ResourceUsage,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {:.3} s, started at {}", self.context, self.age.as_secs_f64(), self.origin)
    }
}

/// So many are listed at a time.
const PIECE: usize = 32;

/// How a shutdown went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// What did not end by the deadline. It was aborted, and has ended by now; but blocking code cannot be
    /// aborted, and goes on until it is done.
    pub aborted: Vec<Running>,
}

#[derive(Clone)]
struct Entry {
    number: u64,
    context: LogContext,
    name: Option<Arc<str>>,
    origin: &'static Location<'static>,
    started: u64,
    abort: Option<AbortHandle>,
}

#[derive(Default)]
struct Entries {
    /// Numbers the entries: a place is used again, its number is not.
    next: u64,
    all: Vec<Option<Entry>>,
    free: Vec<usize>,
}

#[derive(Default)]
pub(crate) struct RunningList {
    entries: Stepwise<Entries>,
    tracker: TaskTracker,
    reason: OnceLock<Arc<str>>,
    asked: CancellationToken,
    drain: CancellationToken,
    stop: CancellationToken,
    closed: CancellationToken,
}

/// A place in the list, for as long as the work runs.
pub(crate) struct Place {
    supervisor: Supervisor,
    index: usize,
    number: u64,
    _token: TaskTrackerToken,
}

impl RunningList {
    fn take(&self, index: usize) -> Option<Entry> {
        let mut entries = self.entries.lock();
        let entry = entries.all[index].take();
        entries.free.push(index);
        entry
    }

    /// A shutdown that has not begun by now waits until this is dropped.
    pub(crate) fn hold(&self) -> TaskTrackerToken {
        self.tracker.token()
    }

    /// Has the shutdown begun?
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Is its deadline past?
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// What runs, and how it can be aborted. Read in pieces, so that nobody who comes or goes waits for the whole.
    fn list(&self) -> Vec<(Running, Option<AbortHandle>)> {
        let now = clock::ticks();
        let mut list = Vec::new();
        let mut piece = Vec::with_capacity(PIECE);
        let mut from = 0;
        loop {
            let entries = self.entries.lock_next();
            let to = (from + PIECE).min(entries.all.len());
            piece.extend(entries.all[from..to].iter().flatten().cloned());
            let is_last = to == entries.all.len();
            drop(entries);
            list.extend(piece.drain(..).map(|entry| entry.describe(now)));
            if is_last {
                return list;
            }
            from = to;
        }
    }
}

impl Entry {
    fn describe(self, now: u64) -> (Running, Option<AbortHandle>) {
        let Self { context, name, origin, started, abort, .. } = self;
        let running = Running {
            name: name.unwrap_or_else(|| context.name().into()),
            origin,
            age: Duration::from_nanos(clock::nanos_between(started, now)),
            usage: context.usage(),
            context,
        };
        (running, abort)
    }
}

impl Place {
    pub(crate) fn new(
        supervisor: &Supervisor,
        context: &LogContext,
        name: Option<Arc<str>>,
        origin: &'static Location<'static>,
        started: u64,
    ) -> Self {
        let list = supervisor.running_list();
        let token = list.tracker.token();
        let mut entries = list.entries.lock();
        entries.next += 1;
        let number = entries.next;
        let entry = Some(Entry { number, context: context.clone(), name, origin, started, abort: None });
        let index = match entries.free.pop() {
            Some(index) => {
                entries.all[index] = entry;
                index
            }
            None => {
                entries.all.push(entry);
                entries.all.len() - 1
            }
        };
        drop(entries);
        Self { supervisor: supervisor.clone(), index, number, _token: token }
    }

    /// Where it is, and its number there.
    pub(crate) fn key(&self) -> (usize, u64) {
        (self.index, self.number)
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }
}

/// Says how the work in this place can be aborted, unless it has ended already and the place is somebody else's.
pub(crate) fn set_abort(supervisor: &Supervisor, (index, number): (usize, u64), abort: AbortHandle) {
    if let Some(entry) = &mut supervisor.running_list().entries.lock().all[index]
        && entry.number == number
    {
        entry.abort = Some(abort);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Taken out of the lock before it is dropped: its context's last handle may be in it.
        drop(self.supervisor.running_list().take(self.index));
    }
}

impl Supervisor {
    /// What was fired off and has not ended: with context, age, cost and origin.
    pub fn running(&self) -> Vec<Running> {
        self.running_list().list().into_iter().map(|(running, _)| running).collect()
    }

    /// Has the shutdown begun? Then no background process is started any more.
    pub fn is_shutting_down(&self) -> bool {
        self.running_list().is_stopping()
    }

    /// Asks whoever runs the service to shut it down, for this reason: for what finds that the service cannot go on, and
    /// cannot end it itself. The first reason counts; answers whether this was it. It is logged, at error level, in the
    /// current context. Nothing else happens here.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext::Supervisor;
    ///
    /// let service = Supervisor::new("presence");
    /// assert!(service.ask_to_shut_down("the listener `sender` has failed"));
    /// assert!(!service.ask_to_shut_down("another one has failed"));
    /// assert_eq!(&*service.asked_to_shut_down().await, "the listener `sender` has failed");
    /// # }
    /// ```
    pub fn ask_to_shut_down(&self, reason: &str) -> bool {
        let list = self.running_list();
        let is_first = list.reason.set(reason.into()).is_ok();
        if is_first {
            tracing::error!(target: "logcontext::background", reason, "asked to shut down");
            list.asked.cancel();
        }
        is_first
    }

    /// Completes, with the reason, when somebody [asks](Self::ask_to_shut_down) for the service to be shut down: what
    /// whoever runs it waits for, next to signals.
    pub async fn asked_to_shut_down(&self) -> Arc<str> {
        let list = self.running_list();
        loop {
            list.asked.cancelled().await;
            // Set before it was told.
            if let Some(reason) = list.reason.get() {
                return Arc::clone(reason);
            }
        }
    }

    /// Tells listeners to take no more, and streams to come to an end. Background processes go on, and are taken,
    /// until the [`shutdown`](Self::shutdown), which implies this. The first step of a service's end: what is under
    /// way is done before what it needs goes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext::Supervisor;
    ///
    /// let service = Supervisor::new("presence");
    /// let told = service.draining();
    /// service.drain();
    /// told.await;
    /// assert!(service.is_draining() && !service.is_shutting_down());
    /// # }
    /// ```
    pub fn drain(&self) {
        self.running_list().drain.cancel();
    }

    /// Has it been told to [`drain`](Self::drain), or to shut down?
    pub fn is_draining(&self) -> bool {
        self.running_list().drain.is_cancelled()
    }

    /// Completes when it is told to [`drain`](Self::drain), or to shut down: what listeners and streams select on.
    pub fn draining(&self) -> WaitForCancellationFutureOwned {
        self.running_list().drain.clone().cancelled_owned()
    }

    /// Completes when the shutdown begins: what loops select on. Streams and listeners end earlier, at
    /// [`draining`](Self::draining).
    pub fn shutting_down(&self) -> WaitForCancellationFutureOwned {
        self.running_list().stop.clone().cancelled_owned()
    }

    /// [Drains](Self::drain), tells everything that runs in the background to end, waits for it until the deadline, then aborts the
    /// rest and names it. Loops end, background processes are refused from now on; what requests put into the
    /// background is still taken, until nothing runs any more or the deadline is past. A second call waits along.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext::{Supervisor, background};
    /// use std::time::Duration;
    ///
    /// let service = Supervisor::new("presence");
    /// service.context("startup").start().scope(|| {
    ///     background::run("sleepy", std::future::pending::<()>());
    /// });
    /// let shutdown = service.shutdown(Duration::from_millis(10)).await;
    /// assert_eq!(shutdown.aborted[0].context.name(), "sleepy-0");
    /// # }
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> Shutdown {
        let list = self.running_list();
        // First, so that whatever is shutting down is draining.
        list.drain.cancel();
        list.stop.cancel();
        list.tracker.close();
        let in_time = tokio::time::timeout(deadline, list.tracker.wait()).await.is_ok();
        list.closed.cancel();
        if in_time {
            return Shutdown::default();
        }
        let mut aborted = Vec::new();
        for (running, abort) in list.list() {
            if let Some(abort) = abort {
                abort.abort();
            }
            tracing::warn!(
                target: "logcontext::background",
                name = &*running.name,
                context = running.context.name(),
                age = ?running.age,
                started_at = %running.origin,
                "still running at the end of the shutdown: aborted",
            );
            aborted.push(running);
        }
        // Aborted work ends at its next poll, but blocking work when it is done: do not wait for that.
        let _ = tokio::time::timeout(Duration::from_secs(1), list.tracker.wait()).await;
        Shutdown { aborted }
    }
}

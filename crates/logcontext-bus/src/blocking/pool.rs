//! The threads.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logcontext::Supervisor;
use tokio::runtime::Handle;
use tracing::dispatcher::{self, DefaultGuard, Dispatch};

use super::job::{Job, Running};

/// So long a thread waits for more work before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// The threads of one bus. When this is dropped, idle threads end at once, the others with their work.
pub(crate) struct Threads(Arc<Shared>);

struct Shared {
    supervisor: Supervisor,
    runtime: Handle,
    idle_for: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    /// The one that has worked last is the next to work: its memory is warm, and the others may end.
    idle: Vec<Idle>,
    last: u64,
    count: usize,
}

/// A thread that waits for work. Whoever takes this out of the list gives it some.
struct Idle {
    thread: u64,
    desk: Sender<Handed>,
}

/// Work for a thread, with the only way to give it more: without one it ends.
struct Handed {
    job: Job,
    desk: Sender<Handed>,
}

impl Threads {
    /// None yet.
    pub(crate) fn new(supervisor: &Supervisor, runtime: &Handle) -> Self {
        Self::idle_for(supervisor, runtime, IDLE)
    }

    pub(super) fn idle_for(supervisor: &Supervisor, runtime: &Handle, idle_for: Duration) -> Self {
        let (supervisor, runtime) = (supervisor.clone(), runtime.clone());
        Self(Arc::new(Shared { supervisor, runtime, idle_for, state: Mutex::default() }))
    }

    /// Begins `f` at once, on a thread where it may block, in the current context and with the bus's runtime entered: it
    /// may use that, or start one of its own and wait for that. Its panic is caught, and reported in its context.
    pub(crate) fn run<R: Send + 'static>(&self, f: impl FnOnce() -> R + Send + 'static) -> Running<R> {
        let (job, running) = Job::new(f);
        match self.start(job) {
            Ok(()) => running,
            Err(error) => Running::failed(error),
        }
    }

    /// So many there are, at work or idle.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().count
    }

    /// So many of them are idle.
    pub(crate) fn idle(&self) -> usize {
        self.0.lock().idle.len()
    }

    /// Lives as long as one of the threads, or this.
    #[cfg(test)]
    pub(super) fn shared(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.0)
    }

    fn start(&self, job: Job) -> io::Result<()> {
        let idle = self.0.lock().idle.pop();
        let desk = match idle {
            Some(idle) => idle.desk,
            None => self.0.more()?,
        };
        // Nobody but this one can give it anything now, and it waits until somebody does.
        let handed = Handed { job, desk: desk.clone() };
        desk.send(handed).map_err(|_| io::Error::other("the thread has ended"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.idle.clear();
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count()).field("idle", &self.idle()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more thread, that waits for its first job.
    fn more(self: &Arc<Self>) -> io::Result<Sender<Handed>> {
        let (desk, work) = channel();
        let (thread, logs) = (Counted::one_more(self), Logs::here());
        let body = move || {
            let _logs = logs.go_on();
            thread.shared.supervisor.adopt_thread();
            let _runtime = thread.shared.runtime.enter();
            thread.work(&work);
        };
        #[expect(clippy::disallowed_methods, reason = "each job brings its own context")]
        std::thread::Builder::new().name("bus-handler".to_owned()).spawn(body)?;
        Ok(desk)
    }
}

/// A thread, until it has ended, or could not be begun.
struct Counted {
    number: u64,
    shared: Arc<Shared>,
}

impl Counted {
    fn one_more(shared: &Arc<Shared>) -> Self {
        let mut state = shared.lock();
        state.last += 1;
        state.count += 1;
        Self { number: state.last, shared: Arc::clone(shared) }
    }

    /// The life of a thread.
    fn work(&self, work: &Receiver<Handed>) {
        let mut next = work.recv().ok();
        while let Some(Handed { job, desk }) = next {
            // What is caught here are panics of drops: the work's own has been caught further in.
            let _ = catch_unwind(AssertUnwindSafe(|| job.run()));
            if !self.is_idle(desk) {
                return;
            }
            next = match work.recv_timeout(self.shared.idle_for) {
                Err(RecvTimeoutError::Timeout) if self.is_superfluous() => None,
                // Somebody has taken it out of the list, and is about to give it a job.
                Err(RecvTimeoutError::Timeout) => work.recv().ok(),
                handed => handed.ok(),
            };
        }
    }

    /// It has nothing to do. Answers whether there may be more to come.
    fn is_idle(&self, desk: Sender<Handed>) -> bool {
        let mut state = self.shared.lock();
        if !state.is_closed {
            state.idle.push(Idle { thread: self.number, desk });
        }
        !state.is_closed
    }

    /// Nobody has needed it for long: takes it out of the list, unless somebody has just done so.
    fn is_superfluous(&self) -> bool {
        let mut state = self.shared.lock();
        let place = state.idle.iter().position(|idle| idle.thread == self.number);
        place.map(|place| state.idle.remove(place)).is_some()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.lock().count -= 1;
    }
}

/// Where the log goes of whoever needs a thread, if not where all of the process's goes.
struct Logs(Dispatch, usize);

impl Logs {
    fn here() -> Self {
        dispatcher::get_default(|logs| Self(logs.clone(), Self::key(logs)))
    }

    fn go_on(self) -> Option<DefaultGuard> {
        // One that is set for a thread makes logging slower on all: only where it is another.
        let is_other = dispatcher::get_default(|logs| Self::key(logs) != self.1);
        is_other.then(|| dispatcher::set_default(&self.0))
    }

    fn key(logs: &Dispatch) -> usize {
        std::ptr::from_ref(logs).addr()
    }
}

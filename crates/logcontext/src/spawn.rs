//! Firing work off: in the current context as its follower, watched until it ends.

use std::any::Any;
use std::fmt::{self, Display};
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use crate::clock;
use crate::context::LogContext;
use crate::diagnostics::{DiagnosticKind, Report};
use crate::executor;
use crate::future::{FutureExt, InContext};
use crate::kind::Ending;
use crate::meter;
use crate::outcome::Outcome;
use crate::panics::{self, Task};
use crate::running::{self, Place};
use crate::supervisor::Supervisor;

/// Why there is no result of something that was fired off.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// It panicked, with this message. It has been logged.
    Panicked(String),
    /// It was aborted, or its runtime has shut down.
    Cancelled,
    /// It was not started: the supervisor is shutting down.
    ShuttingDown,
}

impl Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::ShuttingDown => f.write_str("not started: shutting down"),
        }
    }
}

impl std::error::Error for Lost {}

/// Something that was fired off. Await it to know when it is really done, or drop it: that changes nothing for
/// the work, nor for the report of its failure.
#[derive(Debug)]
pub struct Background<O> {
    handle: Result<JoinHandle<Result<O, Lost>>, Lost>,
    context: LogContext,
}

impl<O> Background<O> {
    /// The context it runs in.
    pub fn context(&self) -> &LogContext {
        &self.context
    }

    /// Cancels it: it ends at its next await.
    pub fn abort(&self) {
        if let Ok(handle) = &self.handle {
            handle.abort();
        }
    }

    /// Has it ended?
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().map_or(true, JoinHandle::is_finished)
    }

    pub(crate) fn refused(context: LogContext) -> Self {
        Self { handle: Err(Lost::ShuttingDown), context }
    }
}

impl<O> Future for Background<O> {
    type Output = Result<O, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.handle {
            Err(lost) => Poll::Ready(Err(lost.clone())),
            Ok(handle) => Pin::new(handle).poll(cx).map(|result| match result {
                Ok(result) => result,
                // Panics are caught further in; what is left are those of drops.
                Err(error) if error.is_panic() => {
                    Err(Lost::Panicked(panics::message(&*error.into_panic()).to_owned()))
                }
                Err(_) => Err(Lost::Cancelled),
            }),
        }
    }
}

/// Runs `future` in the background, in the current context and as its follower: it may go on after the context
/// has finished, and is charged to it all the same. The caller's context is untouched.
///
/// A failure or a panic is logged at once, at error level, with the line that called this. What stands for
/// itself rather than for the caller belongs in [`background::run`](crate::background::run).
///
/// In the sentinel there is nobody to run for: that raises a diagnostic. After the deadline of a shutdown
/// nothing is started any more: [`Lost::ShuttingDown`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{FutureExt, LogContext, current_context, run_in_background};
///
/// async {
///     let sent = run_in_background(async { current_context().name().to_owned() });
///     assert_eq!(sent.await.as_deref(), Ok("GET-17"));
/// }
/// .in_context(LogContext::new("GET-17"))
/// .await;
/// # }
/// ```
///
/// # Panics
/// Outside a tokio runtime.
#[track_caller]
pub fn run_in_background<F>(future: F) -> Background<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    in_background(meter::current(), Location::caller(), future)
}

impl LogContext {
    /// The same in this context, whichever is current: for adapters that have something to end properly which the
    /// context began, a rollback for one, wherever it was dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use logcontext::{LogContext, current_context};
    ///
    /// let request = LogContext::new("GET-17");
    /// request.finish();
    /// let rolled_back = request.run_in_background(async { current_context().name().to_owned() });
    /// assert_eq!(rolled_back.await.as_deref(), Ok("GET-17"));
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn run_in_background<F>(&self, future: F) -> Background<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Outcome + Send + 'static,
    {
        in_background(self.clone(), Location::caller(), future)
    }

    /// The same, started from this line of code: for what is set off elsewhere than where somebody would look for it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run_in_background_from<F>(
        &self,
        origin: &'static Location<'static>,
        future: F,
    ) -> Background<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Outcome + Send + 'static,
    {
        in_background(self.clone(), origin, future)
    }
}

/// Runs it as a follower of the context.
pub(crate) fn in_background<F>(
    context: LogContext,
    origin: &'static Location<'static>,
    future: F,
) -> Background<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    if context.is_sentinel() {
        Report::new(DiagnosticKind::BackgroundFromSentinel, &context).origin(origin).raise();
    }
    let supervisor = context.supervisor();
    if supervisor.running_list().is_closed() {
        return Background::refused(context);
    }
    start(&supervisor, context, None, Belongs::ToCaller, origin, future)
}

/// Runs `f` on a thread where it may block, in the current context and as its follower. It is not reported as a
/// blocked executor; a panic or an error is logged at once. It cannot be aborted once it runs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{FutureExt, LogContext, current_context, spawn_blocking};
///
/// async {
///     let name = spawn_blocking(|| current_context().name().to_owned()).await;
///     assert_eq!(name.as_deref(), Ok("GET-17"));
/// }
/// .in_context(LogContext::new("GET-17"))
/// .await;
/// # }
/// ```
///
/// # Panics
/// Outside a tokio runtime.
#[track_caller]
#[doc(alias = "defer_to_thread")]
pub fn spawn_blocking<F, O>(f: F) -> Background<O>
where
    F: FnOnce() -> O + Send + 'static,
    O: Outcome + Send + 'static,
{
    let (context, origin) = (meter::current(), Location::caller());
    if context.is_sentinel() {
        Report::new(DiagnosticKind::BlockingFromSentinel, &context).origin(origin).raise();
    }
    let supervisor = context.supervisor();
    if supervisor.running_list().is_closed() {
        return Background::refused(context);
    }
    let started = clock::ticks();
    let place = Place::new(&supervisor, &context, None, origin, started);
    let mut watch =
        Watch { context: context.clone(), belongs: Belongs::ToCaller, origin, started, place: Some(place) };
    let body = Body { f: Some(f), context: context.clone() };
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    let handle = tokio::task::spawn_blocking(move || {
        let task = Task { origin, started };
        let (f, context) = body.take();
        let (result, reported) = panics::as_task(task, || {
            catch_unwind(AssertUnwindSafe(|| executor::may_block(|| context.scope_as_follower(f))))
        });
        watch.conclude(result, reported)
    });
    Background { handle: Ok(handle), context }
}

/// What blocking work is to run. Dropped in its context if it never does.
struct Body<F> {
    f: Option<F>,
    context: LogContext,
}

impl<F> Body<F> {
    fn take(mut self) -> (F, LogContext) {
        let f = self.f.take().expect("taken once");
        (f, std::mem::take(&mut self.context))
    }
}

impl<F> Drop for Body<F> {
    fn drop(&mut self) {
        if let Some(f) = self.f.take() {
            self.context.scope_as_follower(|| drop(f));
        }
    }
}

/// Runs `f`, which may block, right here, in the current context. Other tasks of this worker move to another
/// thread meanwhile; on a current-thread runtime there is no other, and they wait. The time counts as
/// explained: it is not reported as a blocked executor.
///
/// ```
/// # #[tokio::main] async fn main() {
/// use logcontext::{FutureExt, LogContext, block_in_place, current_context};
///
/// let read = async { block_in_place(|| current_context().name().to_owned()) };
/// assert_eq!(read.in_context(LogContext::new("GET-17")).await, "GET-17");
/// # }
/// ```
#[track_caller]
pub fn block_in_place<R>(f: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};

    let context = meter::current();
    if context.is_sentinel() {
        Report::new(DiagnosticKind::BlockingFromSentinel, &context).origin(Location::caller()).raise();
    }
    meter::settle();
    let mark = meter::mark();
    let can_move =
        Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    let result = executor::may_block(|| if can_move { tokio::task::block_in_place(f) } else { f() });
    meter::settle();
    meter::excuse_since(mark);
    result
}

/// Whose the context is that something fired off runs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// The caller's: the work is its follower.
    ToCaller,
    /// The work's own: it finishes with it.
    ToItself,
}

/// Spawns a task that is listed, reported and, if the context is its own, finished at its end.
pub(crate) fn start<F>(
    supervisor: &Supervisor,
    context: LogContext,
    name: Option<Arc<str>>,
    belongs: Belongs,
    origin: &'static Location<'static>,
    future: F,
) -> Background<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    let started = clock::ticks();
    let place = Place::new(supervisor, &context, name, origin, started);
    let key = place.key();
    let watch = Watch { context: context.clone(), belongs, origin, started, place: Some(place) };
    // A background process is the owner of its context: nobody has a better right to be in it. That it is over
    // when it is over is seen to by `finish`.
    let inner = future.following(context.clone());
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    let handle = tokio::spawn(Watched { inner: Some(inner), watch });
    running::set_abort(supervisor, key, handle.abort_handle());
    Background { handle: Ok(handle), context }
}

/// The one report of a panic that no hook has reported.
fn log_panic(context: &LogContext, name: &str, message: &str, task: Task) {
    context.supervisor().count_panic();
    log_failure(context, name, "panicked", &message, task);
}

/// The one report of a failure. At error level: not worse, and not when something is collected.
fn log_failure(context: &LogContext, name: &str, how: &str, error: &dyn Display, task: Task) {
    let usage = context.usage();
    let cpu = usage.cpu();
    let remote = Some(usage.remote()).filter(|remote| !remote.is_empty());
    context.scope_as_follower(|| {
        tracing::error!(
            target: "logcontext::background",
            name,
            %error,
            duration = ?task.age(),
            cpu = cpu.as_ref().map(tracing::field::debug),
            remote_calls = remote.map(|remote| remote.calls),
            remote_unknown = remote.map(|remote| remote.unknown),
            remote_cpu = remote.and_then(|remote| remote.cpu()).as_ref().map(tracing::field::debug),
            started_at = %task.origin,
            started_by = context.started_by(),
            "background work {how}",
        );
    });
}

/// Runs a piece of a background process, in the current context; reports its failure or panic and goes on.
pub(crate) async fn guarded<F>(name: &str, origin: &'static Location<'static>, future: F)
where
    F: Future,
    F::Output: Outcome,
{
    let mut future = std::pin::pin!(future);
    let task = Task { origin, started: clock::ticks() };
    let (result, reported) = std::future::poll_fn(|cx| {
        let poll = || catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match panics::as_task(task, poll) {
            (Ok(Poll::Pending), _) => Poll::Pending,
            (Ok(Poll::Ready(output)), reported) => Poll::Ready((Ok(output), reported)),
            (Err(payload), reported) => Poll::Ready((Err(payload), reported)),
        }
    })
    .await;
    let context = meter::current();
    match result {
        Ok(output) => {
            if let Some(error) = output.failure() {
                log_failure(&context, name, "failed", error, task);
            }
        }
        Err(payload) if !reported => {
            log_panic(&context, name, panics::message(&*payload), task);
        }
        Err(_) => {}
    }
}

/// Looks after one piece of work: hears of its end, whichever it is, once.
struct Watch {
    context: LogContext,
    belongs: Belongs,
    origin: &'static Location<'static>,
    started: u64,
    /// `None` once it has ended.
    place: Option<Place>,
}

impl Watch {
    fn conclude<O: Outcome>(&mut self, result: std::thread::Result<O>, reported: bool) -> Result<O, Lost> {
        match result {
            Ok(output) => {
                match output.failure() {
                    Some(error) => {
                        log_failure(&self.context, self.context.name(), "failed", error, self.task());
                        self.end(Ending::Failed);
                    }
                    None => self.end(Ending::Ok),
                }
                Ok(output)
            }
            Err(payload) => Err(self.panicked(&*payload, reported)),
        }
    }

    fn panicked(&mut self, payload: &(dyn Any + Send), reported: bool) -> Lost {
        let message = panics::message(payload).to_owned();
        if !reported {
            log_panic(&self.context, self.context.name(), &message, self.task());
        }
        self.end(Ending::Panicked);
        Lost::Panicked(message)
    }

    fn task(&self) -> Task {
        Task { origin: self.origin, started: self.started }
    }

    fn end(&mut self, ending: Ending) {
        let Some(place) = self.place.take() else { return };
        if self.belongs == Belongs::ToItself {
            self.context.finish_as(ending);
        }
        // A loop waits in the sentinel: it is nobody's, and has its name elsewhere.
        if ending == Ending::Cancelled && !self.context.is_sentinel() {
            self.context.scope_as_follower(|| {
                tracing::debug!(
                    target: "logcontext::background",
                    name = self.context.name(),
                    duration = ?self.task().age(),
                    started_at = %self.origin,
                    shutting_down = place.supervisor().is_shutting_down(),
                    "background work cancelled",
                );
            });
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(Ending::Cancelled);
    }
}

pin_project! {
    struct Watched<F> {
        #[pin]
        inner: Option<InContext<F>>,
        watch: Watch,
    }

    impl<F> PinnedDrop for Watched<F> {
        fn drop(this: Pin<&mut Self>) {
            // The work first: it is cancelled once it is gone. Its panic on the way out goes no further than that
            // of a poll.
            let mut this = this.project();
            let drop_work = || catch_unwind(AssertUnwindSafe(|| this.inner.set(None)));
            let (result, reported) = panics::as_task(this.watch.task(), drop_work);
            if let Err(payload) = result {
                this.watch.panicked(&*payload, reported);
                if !std::thread::panicking() {
                    // For the executor, which tells whoever waits.
                    resume_unwind(payload);
                }
            }
        }
    }
}

impl<F: Future> Future for Watched<F>
where
    F::Output: Outcome,
{
    type Output = Result<F::Output, Lost>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let task = this.watch.task();
        let (result, reported) = panics::as_task(task, || {
            catch_unwind(AssertUnwindSafe(|| {
                let inner = this.inner.as_mut().as_pin_mut().expect("polled after it was ready");
                inner.poll(cx)
            }))
        });
        let result = match result {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(payload),
        };
        // Dropping what a panic left behind may panic again; one report is enough.
        let _ = catch_unwind(AssertUnwindSafe(|| this.inner.set(None)));
        Poll::Ready(this.watch.conclude(result, reported))
    }
}

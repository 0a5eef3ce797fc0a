//! One report per panic: from the panic hook, where one is installed that calls [`report_panic`], or from
//! whoever catches it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, PanicHookInfo, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::clock;
use crate::meter;

/// What runs on this thread, for the panic hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) origin: &'static Location<'static>,
    pub(crate) started: u64,
}

impl Task {
    pub(crate) fn age(self) -> Duration {
        Duration::from_nanos(clock::nanos_between(self.started, clock::ticks()))
    }
}

thread_local! {
    static TASK: Cell<Option<Task>> = const { Cell::new(None) };
    static REPORTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` as this task and says whether a panic in it was reported by the hook.
#[cfg(feature = "tokio")]
pub(crate) fn as_task<R>(task: Task, f: impl FnOnce() -> R) -> (R, bool) {
    struct Back(Option<Task>);
    impl Drop for Back {
        fn drop(&mut self) {
            TASK.set(self.0);
        }
    }
    let _back = Back(TASK.replace(Some(task)));
    REPORTED.set(false);
    let result = f();
    (result, REPORTED.take())
}

/// Logs a panic at error level, in the context in which it happened: to be called from the process's panic
/// hook. `logcontext-tracing` installs one. Whoever catches the panic then logs nothing more.
///
/// ```
/// std::panic::set_hook(Box::new(|info| logcontext::report_panic(info)));
/// # let _ = std::panic::take_hook();
/// ```
pub fn report_panic(info: &PanicHookInfo<'_>) {
    REPORTED.set(true);
    let context = meter::current();
    context.supervisor().count_panic();
    let task = TASK.get();
    let age = task.map(Task::age);
    let cpu = context.usage().cpu();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(&backtrace);
    tracing::error!(
        target: "logcontext::panic",
        name = (!context.is_sentinel()).then(|| context.name()),
        at = info.location().map(tracing::field::display),
        duration = age.as_ref().map(tracing::field::debug),
        cpu = cpu.as_ref().map(tracing::field::debug),
        started_at = task.map(|task| tracing::field::display(task.origin)),
        started_by = context.started_by(),
        thread = std::thread::current().name(),
        backtrace = backtrace.map(tracing::field::display),
        "panicked: {}",
        message(info.payload()),
    );
}

/// Runs `f` and catches its panic, for layers that answer for others' code. Whoever catches one sees to it that
/// it is reported, once: with [`Panic::report`], or by passing it on with [`Panic::resume`].
///
/// ```
/// use logcontext::catch_panic;
///
/// assert_eq!(catch_panic(|| 17).unwrap(), 17);
/// let panic = catch_panic(|| { if true { panic!("no") } }).unwrap_err();
/// assert_eq!(panic.message(), "no");
/// ```
///
/// # Errors
/// The panic, if there was one.
#[inline]
pub fn catch_panic<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    // What came before is somebody else's.
    let before = REPORTED.replace(false);
    let result = catch_unwind(AssertUnwindSafe(f));
    let reported = REPORTED.replace(before);
    result.map_err(|payload| Panic { payload, reported })
}

/// A panic that was caught: see [`catch_panic`].
pub struct Panic {
    payload: Box<dyn Any + Send>,
    reported: bool,
}

impl Panic {
    /// What it says. It may be anything, from anywhere: nothing to show to clients.
    pub fn message(&self) -> &str {
        message(&*self.payload)
    }

    /// Has it been logged, by a panic hook that calls [`report_panic`] or by [`report`](Self::report)?
    pub fn is_reported(&self) -> bool {
        self.reported
    }

    /// Logs it at error level, in the current context, if nobody has done so yet.
    ///
    /// ```
    /// use logcontext::{LogContext, catch_panic, testing};
    ///
    /// let test = testing::start();
    /// LogContext::new("GET-17").scope(|| {
    ///     let mut panic = catch_panic(|| { if true { panic!("no") } }).unwrap_err();
    ///     panic.report();
    ///     panic.report();
    /// });
    /// let records = test.records();
    /// assert_eq!(records.len(), 1);
    /// assert_eq!((records[0].context.name(), &*records[0].message), ("GET-17", "panicked: no"));
    /// ```
    pub fn report(&mut self) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let context = meter::current();
        context.supervisor().count_panic();
        let cpu = context.usage().cpu();
        tracing::error!(
            target: "logcontext::panic",
            name = (!context.is_sentinel()).then(|| context.name()),
            cpu = cpu.as_ref().map(tracing::field::debug),
            started_by = context.started_by(),
            "panicked: {}",
            self.message(),
        );
    }

    /// Goes on with it. Who catches it next within the library knows whether it has been reported.
    ///
    /// # Panics
    /// With this panic.
    pub fn resume(self) -> ! {
        if self.reported {
            REPORTED.set(true);
        }
        resume_unwind(self.payload)
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message())
            .field("reported", &self.reported)
            .finish_non_exhaustive()
    }
}

/// The message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        "(no message)"
    }
}

//! One report per panic: from the panic hook, where one is installed that calls [`report_panic`], or from
//! whoever catches it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{Location, PanicHookInfo};
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

//! [`LogGuard`]: the end of a log, orderly or in a panic.

use std::io;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tracing::Level;

use crate::writer::LogWriter;

/// How long a panic waits for its line to be written. It may be the process's last.
const PANIC_WAITS: Duration = Duration::from_secs(2);

/// How long the guard's drop waits for the last lines.
const DROP_WAITS: Duration = Duration::from_secs(5);

/// Keeps a log going. When it is dropped, what is queued is written (a target that hangs is waited for no longer
/// than five seconds), the writer's thread ends, and panics are again reported as they were before. What is
/// logged after that is written by whoever logs it.
///
/// `std::process::exit` drops nothing: flush before.
///
/// ```
/// use logcontext_tracing::{LogTarget, LogWriter};
///
/// let log = LogWriter::start(LogTarget::stderr())?.guard();
/// assert!(log.flush());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the log ends when the guard is dropped: at once, if it is not kept"]
pub struct LogGuard {
    writer: LogWriter,
    hook: Option<Arc<AtomicBool>>,
}

impl LogGuard {
    pub(crate) fn new(writer: LogWriter) -> Self {
        Self { writer, hook: None }
    }

    /// From now on until the guard is dropped, a panic is a record of its own in the log, in the context in
    /// which it happened, and is flushed at once. It replaces the report on standard error; where the log does
    /// not take it (a filter, no subscriber), the panic is reported as it was before.
    pub fn with_panic_hook(mut self) -> Self {
        if self.hook.is_none() {
            self.hook = Some(install(self.writer.clone()));
        }
        self
    }

    /// Waits until all that was logged so far has been written, for ten seconds at most. Answers whether it
    /// was.
    pub fn flush(&self) -> bool {
        self.writer.flush()
    }

    /// Opens the target again: see [`LogWriter::reopen`].
    ///
    /// # Errors
    /// If it cannot be opened. Then the log goes on where it was.
    pub fn reopen(&self) -> io::Result<()> {
        self.writer.reopen()
    }

    /// The writer: to be cloned by whoever reopens it on a signal.
    pub fn writer(&self) -> &LogWriter {
        &self.writer
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // The hook itself stays: others may have been put on top of it.
        if let Some(active) = &self.hook {
            active.store(false, Relaxed);
        }
        self.writer.close(DROP_WAITS);
    }
}

/// One report per panic: work that `logcontext` runs, and whose panic it catches, leaves it to this hook.
fn install(writer: LogWriter) -> Arc<AtomicBool> {
    let active = Arc::new(AtomicBool::new(true));
    let is_active = Arc::clone(&active);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if is_active.load(Relaxed) && tracing::enabled!(target: "logcontext::panic", Level::ERROR) {
            logcontext::report_panic(info);
            writer.flush_within(PANIC_WAITS);
        } else {
            before(info);
        }
    }));
    active
}

//! [`LogWriter`]: log lines are written by a thread of their own.

mod figures;
mod queue;
mod sink;
mod target;
mod thread;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logcontext::Supervisor;
use logcontext::source::Source;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::encode::Format;
use crate::guard::LogGuard;
use crate::{JsonFormat, TextFormat};
use queue::{Limits, Pushed, Queue};
use sink::Sink;
use target::Place;

pub use target::LogTarget;

/// How long [`LogWriter::flush`] waits at most, and the end of the last handle.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happens to a record for which the queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is dropped and counted, and a line says how many were: `3 log records dropped`. A disk that hangs
    /// does not make the service hang.
    #[default]
    Drop,
    /// Whoever logs it waits. Nothing is lost; a disk that hangs makes everything hang that logs. A thread that
    /// panics waits for a second at most.
    Block,
}

/// How a [`LogWriter`] is to be, before it starts.
///
/// ```
/// use logcontext_tracing::{LogTarget, LogWriter, WhenFull};
///
/// let writer = LogWriter::options().when_full(WhenFull::Block).start(LogTarget::stderr())?;
/// assert_eq!(writer.dropped(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    limits: Limits,
    notes: Notes,
}

/// The format of what the writer itself has to say.
#[derive(Clone, Copy, Debug)]
enum Notes {
    Json,
    Text,
}

impl Default for WriterOptions {
    fn default() -> Self {
        let limits = Limits {
            records: 64 * 1024,
            bytes: 16 * 1024 * 1024,
            when_full: WhenFull::default(),
            linger: Duration::from_millis(10),
        };
        Self { limits, notes: Notes::Text }
    }
}

impl WriterOptions {
    /// So many records may wait to be written: 65,536 unless told otherwise, at least 1.
    #[must_use]
    pub fn max_records(mut self, records: usize) -> Self {
        self.limits.records = records.max(1);
        self
    }

    /// So many bytes may wait to be written: 16 MiB unless told otherwise. A longer record goes alone.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// What happens to a record for which there is no room: dropped unless told otherwise.
    #[must_use]
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.limits.when_full = policy;
        self
    }

    /// How long records wait for more, to be written together: 10 ms unless told otherwise. Errors, a flush and
    /// a queue that is half full do not wait.
    #[must_use]
    pub fn linger(mut self, time: Duration) -> Self {
        self.limits.linger = time;
        self
    }

    /// What the writer itself has to say, it says in JSON; as text unless told otherwise.
    #[must_use]
    pub fn json_notes(mut self) -> Self {
        self.notes = Notes::Json;
        self
    }

    /// Opens the target and starts the thread.
    ///
    /// # Errors
    /// If the target cannot be opened, or the system refuses a thread.
    pub fn start(self, target: LogTarget) -> io::Result<LogWriter> {
        let (name, writer, place) = target.open()?;
        let shared = Arc::new(Shared {
            queue: Queue::new(self.limits),
            sink: Mutex::new(Sink::new(name.clone(), writer)),
            place,
            name,
            notes: match self.notes {
                Notes::Json => Box::new(JsonFormat::new()),
                Notes::Text => Box::new(TextFormat::new()),
            },
            written: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        });
        thread::start(Arc::clone(&shared))?;
        Supervisor::current().register(&(Arc::clone(&shared) as Arc<dyn Source>));
        Ok(LogWriter(Arc::new(Handle(shared))))
    }
}

/// Takes log lines and has them written by a thread of its own, many at once. A handle: clones are the same
/// writer.
///
/// - The queue is bounded, by records and by bytes; [`WhenFull`] says what happens at the bound.
/// - The thread is woken once for many records: it [lingers](WriterOptions::linger). Errors are written at once.
/// - An error of the target is counted, and told once on standard error; the writer goes on trying.
/// - The thread's CPU is charged to a context called `log_writer`; its figures are a
///   [`Source`] of the supervisor.
/// - Once it has been closed (by its [`LogGuard`]), whoever logs writes by himself: nothing is lost.
/// - What the target itself logs while it writes is left out: it would never end.
///
/// It does not survive a fork: start it after the process has become a daemon.
///
/// ```
/// use logcontext_tracing::{LogLayer, LogTarget, LogWriter};
/// use tracing_subscriber::filter::{LevelFilter, Targets};
/// use tracing_subscriber::prelude::*;
///
/// let writer = LogWriter::start(LogTarget::stderr())?;
/// let _guard = writer.guard().with_panic_hook();
/// tracing_subscriber::registry()
///     .with(LogLayer::text(writer.clone()).with_filter(Targets::new().with_default(LevelFilter::INFO)))
///     // .with(any other layer)
///     .init();
/// tracing::info!("listening");
/// assert!(writer.flush());
/// assert_eq!(writer.written(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct LogWriter(Arc<Handle>);

/// When the last handle goes, so does the thread, which has the other half.
struct Handle(Arc<Shared>);

/// What the handles and the thread share.
pub(crate) struct Shared {
    queue: Queue,
    /// Held while something is written; by the thread, or by whoever logs after its end.
    sink: Mutex<Sink>,
    place: Place,
    name: Cow<'static, str>,
    notes: Box<dyn Format>,
    written: AtomicU64,
    errors: AtomicU64,
}

impl LogWriter {
    /// Opens the target and starts the thread, with the default options.
    ///
    /// # Errors
    /// If the target cannot be opened, or the system refuses a thread.
    pub fn start(target: LogTarget) -> io::Result<Self> {
        Self::options().start(target)
    }

    /// Options to start one with.
    pub fn options() -> WriterOptions {
        WriterOptions::default()
    }

    /// Waits until all that was logged so far has been written, for ten seconds at most. Answers whether it
    /// was.
    pub fn flush(&self) -> bool {
        self.flush_within(PATIENCE)
    }

    /// The same with a limit of one's own.
    pub fn flush_within(&self, limit: Duration) -> bool {
        // The thread that writes would wait for itself.
        !sink::is_writing() && self.shared().queue.flush(limit)
    }

    /// Opens the target again, for instance after its file was renamed, and writes there from the next lines
    /// on. Standard output and the like stay as they are.
    ///
    /// # Errors
    /// If it cannot be opened. Then the writer goes on with what it has.
    pub fn reopen(&self) -> io::Result<()> {
        let Some(writer) = self.shared().place.open()? else { return Ok(()) };
        if let Some(writer) = self.shared().queue.reopened(writer) {
            self.shared().sink().replace(writer);
        }
        Ok(())
    }

    /// How many records have been written.
    pub fn written(&self) -> u64 {
        self.shared().written.load(Relaxed)
    }

    /// How many records were lost, because the queue was full or because they could not be written.
    pub fn dropped(&self) -> u64 {
        self.shared().queue.look().dropped
    }

    /// A guard that flushes and closes this writer when it is dropped.
    pub fn guard(&self) -> LogGuard {
        LogGuard::new(self.clone())
    }

    /// Writes what there is, and ends the thread. Answers whether it has ended.
    pub(crate) fn close(&self, limit: Duration) -> bool {
        self.0.close(limit)
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Handle {
    fn close(&self, limit: Duration) -> bool {
        !sink::is_writing() && self.0.queue.close(limit)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // If a guard has waited in vain, there is no point in waiting again.
        if !self.0.queue.is_closing() {
            self.close(PATIENCE);
        }
    }
}

impl Shared {
    #[inline]
    fn log(&self, record: &[u8], urgent: bool) {
        if record.is_empty() {
            return;
        }
        if sink::is_writing() {
            self.queue.count_dropped();
        } else if self.queue.push(record, urgent) == Pushed::Closed {
            self.write_through(record);
        }
    }

    #[cold]
    fn write_through(&self, record: &[u8]) {
        let result = self.sink().write(record);
        if self.count(1, result) > 0 {
            self.queue.count_dropped();
        }
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogWriter").field(&self.shared().name).finish()
    }
}

/// So that it can be the writer of any layer: one call of `write` is one record.
impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = RecordWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        RecordWriter { shared: self.shared(), urgent: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        RecordWriter { shared: self.shared(), urgent: *metadata.level() == Level::ERROR }
    }
}

/// Writes one record to a [`LogWriter`].
pub struct RecordWriter<'a> {
    shared: &'a Shared,
    urgent: bool,
}

impl io::Write for RecordWriter<'_> {
    #[inline]
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.shared.log(record, self.urgent);
        Ok(record.len())
    }

    #[inline]
    fn write_all(&mut self, record: &[u8]) -> io::Result<()> {
        self.shared.log(record, self.urgent);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for RecordWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordWriter")
    }
}

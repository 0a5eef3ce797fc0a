//! [`LogLayer`]: one line for each event, straight to its writer.

use std::fmt;
use std::io::Write;

use logcontext::current_context;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use crate::encode::Format;
use crate::line;
use crate::{JsonFormat, TextFormat};

/// A layer that writes each event as one line, with the context that the calling thread is in. Other layers
/// work beside it; spans are theirs: a record is told apart by its context, not by the spans around it.
///
/// Writes to a [`LogWriter`](crate::LogWriter), or to whatever tracing-subscriber can write to. An error of a
/// writer of the latter kind is not noticed.
///
/// ```
/// use logcontext::LogContext;
/// use logcontext_tracing::LogLayer;
/// use tracing_subscriber::prelude::*;
///
/// let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
/// # struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
/// # impl std::io::Write for Lines {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let writer = { let lines = lines.clone(); move || Lines(lines.clone()) };
/// let _default = tracing_subscriber::registry().with(LogLayer::json(writer)).set_default();
/// LogContext::new("GET-17").scope(|| tracing::info!(devices = 2, "online"));
///
/// let line = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
/// assert!(line.ends_with("\"message\":\"online\",\"context\":\"GET-17\",\"devices\":2}\n"), "{line}");
/// ```
pub struct LogLayer<F, W> {
    format: F,
    writer: W,
}

impl<F: Format, W: for<'w> MakeWriter<'w> + 'static> LogLayer<F, W> {
    /// A layer of this format and this writer.
    pub const fn new(format: F, writer: W) -> Self {
        Self { format, writer }
    }
}

impl<W: for<'w> MakeWriter<'w> + 'static> LogLayer<JsonFormat, W> {
    /// A layer that writes JSON.
    pub const fn json(writer: W) -> Self {
        Self::new(JsonFormat::new(), writer)
    }
}

impl<W: for<'w> MakeWriter<'w> + 'static> LogLayer<TextFormat, W> {
    /// A layer that writes text.
    pub const fn text(writer: W) -> Self {
        Self::new(TextFormat::new(), writer)
    }
}

impl<S, F, W> Layer<S> for LogLayer<F, W>
where
    S: Subscriber,
    F: Format,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        line::with_buffer(|line| {
            self.format.encode(event, &current_context(), line);
            let _ = self.writer.make_writer_for(event.metadata()).write_all(line);
        });
    }
}

impl<F: fmt::Debug, W> fmt::Debug for LogLayer<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer").field("format", &self.format).finish_non_exhaustive()
    }
}

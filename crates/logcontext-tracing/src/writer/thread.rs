//! The thread that writes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use logcontext::{ContextKind, LogContext, current_context};
use tracing::Level;

use super::Shared;
use super::queue::Batch;
use crate::event::Head;

/// A buffer that has held more than this is not kept for the next batch.
const KEEP: usize = 1024 * 1024;

/// Starts it. What it burns is a context of its own: it is somebody's cost.
pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<()> {
    let context = LogContext::builder("log_writer").kind(ContextKind::Background).label("log_writer").start();
    let body = move || {
        let gone = Gone(Arc::clone(&shared));
        run(&shared, &context);
        context.finish();
        drop(gone);
    };
    #[expect(clippy::disallowed_methods, reason = "enters a context of its own")]
    std::thread::Builder::new().name("log_writer".to_owned()).spawn(body)?;
    Ok(())
}

/// Whoever waits for the end hears of it, however it comes.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.queue.writer_is_gone();
    }
}

fn run(shared: &Shared, context: &LogContext) {
    let mut spare = Vec::new();
    // A scope for each batch: what it has cost is in the totals at once, not when the thread ends.
    while let Some(buffer) = context.scope(|| shared.queue.take(spare).map(|batch| shared.write(batch))) {
        spare = if buffer.capacity() > KEEP { Vec::new() } else { buffer };
    }
}

impl Shared {
    /// Writes a batch, and what there is to say about it; returns its buffer.
    fn write(&self, batch: Batch) -> Vec<u8> {
        let mut sink = self.sink();
        if let Some(writer) = batch.reopened {
            sink.replace(writer);
        }
        let lost = if batch.records == 0 { 0 } else { self.count(batch.records, sink.write(&batch.bytes)) };
        // Told of where they are missing, as soon as lines arrive again.
        let told = batch.lost == 0 || (lost == 0 && sink.write(&self.note(batch.lost)).is_ok());
        drop(sink);
        self.queue.settle(batch.records, lost, if told { 0 } else { batch.lost });
        batch.bytes
    }

    /// Counts what became of so many records; answers how many were lost.
    pub(super) fn count(&self, records: usize, result: Result<(), u64>) -> u64 {
        let lost = result.map_or_else(
            |lost| {
                self.errors.fetch_add(1, Relaxed);
                lost.min(records as u64)
            },
            |()| 0,
        );
        self.written.fetch_add(records as u64 - lost, Relaxed);
        lost
    }

    fn note(&self, lost: u64) -> Vec<u8> {
        let head = Head { level: Level::WARN, target: "logcontext_tracing::writer", file: None, line: None };
        let message = format!("{lost} log record{} dropped", if lost == 1 { "" } else { "s" });
        let mut line = Vec::new();
        self.notes.encode_note(head, &message, &current_context(), &mut line);
        line
    }
}

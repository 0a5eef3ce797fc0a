//! The writer's figures, for whoever exposes metrics.

use std::sync::atomic::Ordering::Relaxed;

use logcontext::source::{Collector, Figure, FigureKind, Source};

use super::Shared;

const WRITTEN: &str = "log_records_written";
const DROPPED: &str = "log_records_dropped";
const ERRORS: &str = "log_write_errors";
const LENGTH: &str = "log_queue_length";
const BYTES: &str = "log_queue_bytes";
const WAKE_UPS: &str = "log_writer_wake_ups";

const FIGURES: &[Figure] = &[
    counter(WRITTEN, "Log records that were written."),
    counter(DROPPED, "Log records that were lost: the queue was full, or they could not be written."),
    counter(ERRORS, "Failed attempts to write log records."),
    gauge(LENGTH, "Log records that wait to be written."),
    gauge(BYTES, "Bytes of log records that wait to be written."),
    counter(WAKE_UPS, "How often the log writer had to be woken."),
];

const fn counter(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Counter }
}

const fn gauge(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Gauge }
}

impl Source for Shared {
    fn describe(&self) -> &[Figure] {
        FIGURES
    }

    fn collect(&self, out: &mut dyn Collector) {
        let queue = self.queue.look();
        let labels = [("target", &*self.name)];
        let mut value = |name, value| out.value(name, &labels, value);
        value(WRITTEN, self.written.load(Relaxed) as f64);
        value(DROPPED, queue.dropped as f64);
        value(ERRORS, self.errors.load(Relaxed) as f64);
        value(LENGTH, queue.records as f64);
        value(BYTES, queue.bytes as f64);
        value(WAKE_UPS, queue.wake_ups as f64);
    }
}

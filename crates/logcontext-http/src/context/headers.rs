//! What is added to the headers of each response, in one place.

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use logcontext::LogContext;

use crate::context::Config;
use crate::server_timing::{SERVER_TIMING, figures};

pub(super) fn add(headers: &mut HeaderMap, config: &Config, context: &LogContext) {
    if let Some(server) = &config.server {
        headers.insert(header::SERVER, server.clone());
    }
    if let Some(name) = &config.request_id
        && let Some(id) = context.request_id()
        && let Some(id) = value(id)
    {
        headers.insert(name.clone(), id);
    }
}

/// This text in memory that many values share: one allocation for hundreds of them.
fn value(text: &str) -> Option<HeaderValue> {
    const BLOCK: usize = 4_096;
    thread_local! {
        static REST: Cell<BytesMut> = Cell::default();
    }
    let mut block = REST.try_with(Cell::take).unwrap_or_default();
    if block.capacity() < text.len() {
        block = BytesMut::with_capacity(BLOCK.max(text.len()));
    }
    block.put_slice(text.as_bytes());
    let text = block.split().freeze();
    let _ = REST.try_with(|rest| rest.set(block));
    HeaderValue::from_maybe_shared(text).ok()
}

/// `cpu;dur=1.234, db;dur=0.8, .., db_txns;desc="2 transactions"`, in milliseconds. Appended: the handler may have times
/// of its own.
pub(super) fn add_timing(headers: &mut HeaderMap, context: &LogContext, total: Duration) {
    let usage = context.usage();
    let (times, counts) = figures(&usage, total);
    let mut text = Vec::with_capacity(120);
    for (name, time) in times {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{name};dur={}", Millis(time));
    }
    for (name, count, what) in counts {
        let _ = write!(text, ", {name};desc=\"{count} {what}\"");
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(SERVER_TIMING.clone(), value);
    }
}

struct Millis(Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (millis, nanos) = (self.0.as_millis(), self.0.subsec_nanos() % 1_000_000);
        // To the nanosecond, for who adds them up; people need no zeros.
        match nanos % 1_000 {
            0 => write!(f, "{millis}.{:03}", nanos / 1_000),
            _ => write!(f, "{millis}.{nanos:06}"),
        }
    }
}

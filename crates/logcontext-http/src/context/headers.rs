//! What is added to the headers of each response, in one place.

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use logcontext::LogContext;

use crate::context::Config;

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

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

/// `cpu;dur=1.234, db;dur=0.8, ..`, in milliseconds. Appended: the handler may have times of its own.
pub(super) fn add_timing(headers: &mut HeaderMap, context: &LogContext, total: Duration) {
    let usage = context.usage();
    let times = [
        ("cpu", usage.cpu()),
        ("db", Some(usage.db_txn_duration)),
        ("db_wait", usage.db_wait()),
        ("total", Some(total)),
    ];
    let mut text = Vec::with_capacity(80);
    for (name, time) in times {
        if let Some(time) = time {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{name};dur={}", Millis(time));
        }
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(SERVER_TIMING.clone(), value);
    }
}

struct Millis(Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1_000, micros % 1_000)
    }
}

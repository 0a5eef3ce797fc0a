//! What the formats have in common: they turn an event and its context into one line.

use std::fmt;

use logcontext::{LogContext, current_context};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::event::Head;
use crate::line;
use crate::{JsonFormat, TextFormat};

/// A format of this crate: [`JsonFormat`] or [`TextFormat`].
pub trait Format: Encode {}

impl Format for JsonFormat {}
impl Format for TextFormat {}

/// Sealed: how a format does it may change.
pub trait Encode: Send + Sync + 'static {
    /// Puts the event's line at the end of `line`, which is empty.
    fn encode(&self, event: &Event<'_>, context: &LogContext, line: &mut Vec<u8>);

    /// The same for a line of the writer's own.
    fn encode_note(&self, head: Head<'_>, message: &str, context: &LogContext, line: &mut Vec<u8>);
}

macro_rules! format_event {
    ($($format:ty),*) => {$(
        impl<S, N> FormatEvent<S, N> for $format
        where
            S: Subscriber + for<'span> LookupSpan<'span>,
            N: for<'writer> FormatFields<'writer> + 'static,
        {
            fn format_event(
                &self,
                _: &FmtContext<'_, S, N>,
                mut writer: Writer<'_>,
                event: &Event<'_>,
            ) -> fmt::Result {
                line::with_buffer(|line| {
                    self.encode(event, &current_context(), line);
                    // It is text: nothing is lost, nor copied.
                    writer.write_str(&String::from_utf8_lossy(line))
                })
            }
        }
    )*};
}

format_event!(JsonFormat, TextFormat);

//! [`TextFormat`]: one line that people read, with the context where Synapse has it.

use std::fmt;

use logcontext::LogContext;
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::encode::Encode;
use crate::escape::{self, Style};
use crate::event::{self, Head};
use crate::line::{self, Line};
use crate::time;

/// One line that people read, with the context where Synapse has it.
///
/// ```text
/// 2026-11-21T07:00:00.123456Z INFO GET-17 presence: online user=@alice note="on a train"
/// 2026-11-21T07:00:00.123460Z WARN GET-17-lookup{req=7f3a} presence::cache: slow after=0.25
/// 2026-11-21T07:00:00.123466Z INFO sentinel hyper: listening
/// ```
/// A request that was given an id of its own has it in braces. Values with spaces, quotes or equals signs are
/// quoted. Whatever could start a line, move the cursor of a terminal or change the direction of text is
/// escaped, in messages and names as well: `\n`, `\u{1b}`. In a message, which has no quotes, a backslash is
/// itself. Records of the target `logcontext::access` are their message alone, which has the same figures as the
/// fields. The rest is as in [`JsonFormat`](crate::JsonFormat), a record that was cut ends with
/// `truncated=true`.
///
/// ```
/// use logcontext_tracing::TextFormat;
/// use tracing_subscriber::prelude::*;
///
/// // In stock tracing-subscriber; `LogLayer::text` is faster.
/// let layer = tracing_subscriber::fmt::layer().event_format(TextFormat::new());
/// let _default = tracing_subscriber::registry().with(layer.with_writer(std::io::sink)).set_default();
/// tracing::info!(devices = 2, "online");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TextFormat {
    locations: bool,
    limit: usize,
}

impl Default for TextFormat {
    fn default() -> Self {
        Self::new()
    }
}

impl TextFormat {
    /// The format as described above.
    pub const fn new() -> Self {
        Self { locations: false, limit: line::LIMIT }
    }

    /// Tell the file and line of every record, not only of the `log` crate's.
    #[must_use]
    pub const fn locations(mut self, tell: bool) -> Self {
        self.locations = tell;
        self
    }

    /// Cut records at so many bytes. The context has some room of its own.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl Encode for TextFormat {
    fn encode(&self, event: &Event<'_>, context: &LogContext, line: &mut Vec<u8>) {
        event::with_head(event, self.locations, |head, is_log| {
            let mut record = Record::begin(line, self.limit, head, context);
            event::visit(event, is_log, &mut record);
            record.end(head);
        });
    }

    fn encode_note(&self, head: Head<'_>, message: &str, context: &LogContext, line: &mut Vec<u8>) {
        let mut record = Record::begin(line, self.limit, head, context);
        record.message(|line| line.escaped(message, Style::Bare));
        record.end(head);
    }
}

struct Record<'a> {
    line: Line<'a>,
    /// Where the message goes: the end of the head.
    message_at: usize,
    message_told: bool,
    /// The message says it all.
    message_only: bool,
}

impl<'a> Record<'a> {
    fn begin(text: &'a mut Vec<u8>, limit: usize, head: Head<'_>, context: &LogContext) -> Self {
        time::push_now(text);
        text.push(b' ');
        text.extend_from_slice(head.level.as_str().as_bytes());
        text.push(b' ');
        let mut line = Line::new(text, limit);
        line.part(|line| {
            word(line, context.name());
            if let Some(id) = own_request_id(context) {
                line.raw("{req=");
                word(line, id);
                line.raw("}");
            }
            line.raw(" ");
            word(line, head.target);
            line.raw(":");
        });
        let message_at = line.len();
        Self { line, message_at, message_told: false, message_only: head.target == event::ACCESS }
    }

    fn message(&mut self, put: impl FnOnce(&mut Line<'_>)) {
        if std::mem::replace(&mut self.message_told, true) {
            return;
        }
        let start = self.line.len();
        self.line.raw(" ");
        put(&mut self.line);
        // It comes before the fields, also where an event has it after them.
        if start > self.message_at {
            let message = self.line.cut(start);
            self.line.insert(self.message_at, message);
        }
    }

    fn field(&mut self, field: &Field, put: impl FnOnce(&mut Line<'_>)) {
        if field.name() == "message" {
            self.message(put);
        } else if !self.message_only && self.line.has_room() {
            self.line.raw(" ");
            word(&mut self.line, event::name(field));
            self.line.raw("=");
            put(&mut self.line);
        }
    }

    fn end(mut self, head: Head<'_>) {
        self.line.part(|line| {
            if let Some(file) = head.file {
                line.raw(" file=");
                word(line, file);
            }
            if let Some(number) = head.line {
                line.raw(" line=");
                line.raw(itoa::Buffer::new().format(number));
            }
        });
        self.line.raw(if self.line.is_truncated() { " truncated=true\n" } else { "\n" });
    }
}

impl Visit for Record<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message(|line| line.escaped(value, Style::Bare));
        } else {
            self.field(field, |line| word(line, value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message(|line| line.formatted(format_args!("{value:?}"), Style::Bare));
        } else {
            // What it is like is known when it has been printed.
            let text = line::printed(format_args!("{value:?}"), self.line.room());
            self.field(field, |line| word(line, &text));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |line| line.raw(itoa::Buffer::new().format(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |line| line.raw(itoa::Buffer::new().format(value)));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.field(field, |line| line.raw(itoa::Buffer::new().format(value)));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.field(field, |line| line.raw(itoa::Buffer::new().format(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |line| line.raw(zmij::Buffer::new().format(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |line| line.raw(if value { "true" } else { "false" }));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.field(field, |line| word(line, &event::hex(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &event::chain(value));
    }
}

/// The id that the request was given, unless it is what its context is called by.
fn own_request_id(context: &LogContext) -> Option<&str> {
    let id = context.request()?.own_id()?;
    let is_its_name =
        context.name().strip_prefix(id).is_some_and(|part| part.is_empty() || part.starts_with('-'));
    (!is_its_name).then_some(id)
}

/// As it is, or in quotes where it could be taken for more than one word.
fn word(line: &mut Line<'_>, text: &str) {
    let plain = |ch: char| !matches!(ch, ' ' | '"' | '\\' | '=' | '{' | '}') && !escape::is_unprintable(ch);
    if !text.is_empty() && text.chars().all(|ch| plain(ch) && !ch.is_whitespace()) {
        line.escaped(text, Style::Bare);
        return;
    }
    line.raw("\"");
    line.escaped(text, Style::Quoted);
    line.raw("\"");
}

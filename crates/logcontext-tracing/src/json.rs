//! [`JsonFormat`]: one JSON object a line.

use std::fmt;

use logcontext::LogContext;
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::encode::Encode;
use crate::escape::Style;
use crate::event::{self, Head};
use crate::line::{self, Line};
use crate::names::{Name, Names};
use crate::seconds;
use crate::time;

/// One JSON object a line, with the context and its request at the top level.
///
/// ```json
/// {"timestamp":"2026-11-21T07:00:00.123456Z","level":"INFO","target":"presence","message":"online",
///  "context":"GET-17","label":"GET /presence/{user}","request_id":"GET-17","trace_id":"4bf92f35..",
///  "method":"GET","path":"/presence/alice","client_address":"127.0.0.1","user":"@alice",
///  "user_agent":"curl/8","protocol":"HTTP/1.1","devices":2}
/// ```
/// (in one line.) `message` and `context` are always there; `context` is `sentinel` outside any. What a context
/// or a request does not have is absent. `started_by` links a background process to the context that started
/// it. Records of the `log` crate have `file` and `line`; others with [`locations`](Self::locations).
///
/// Access lines (target `logcontext::access`) have their figures as fields, and `Processed request` for a message.
///
/// **Names.** These names always mean the above: an event's own field of such a name is found under `fields`:
/// `info!(path = "/tmp")` gives `"fields":{"path":"/tmp"}`. A field that an event has twice is told once, and so is
/// a `label` or `started_by` that is the context's.
///
/// **Values.** It is valid JSON whatever the values hold. Control characters, line separators and marks that
/// change the direction of text are escaped. Integers are numbers where they fit into 64 bits, and strings
/// beyond; `NaN`, `inf` and `-inf` are strings; bytes are hexadecimal; an error is followed by what caused it.
/// A record is cut at 256 KiB, between fields or inside of a string, and then has `"truncated":true`.
///
/// ```
/// use logcontext_tracing::JsonFormat;
/// use tracing_subscriber::prelude::*;
///
/// // In stock tracing-subscriber; `LogLayer::json` is faster.
/// let layer = tracing_subscriber::fmt::layer().event_format(JsonFormat::new());
/// let _default = tracing_subscriber::registry().with(layer.with_writer(std::io::sink)).set_default();
/// tracing::info!(devices = 2, "online");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JsonFormat {
    locations: bool,
    limit: usize,
}

impl Default for JsonFormat {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonFormat {
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

impl Encode for JsonFormat {
    fn encode(&self, event: &Event<'_>, context: &LogContext, line: &mut Vec<u8>) {
        event::with_head(event, self.locations, |head, is_log| {
            let names = Names::of(event.metadata(), is_reserved);
            let mut record = Record::begin(line, self.limit, head, (!is_log).then_some(&names), context);
            event::visit(event, is_log, &mut record);
            record.end();
        });
    }

    fn encode_note(&self, head: Head<'_>, message: &str, context: &LogContext, line: &mut Vec<u8>) {
        let mut record = Record::begin(line, self.limit, head, None, context);
        record.message(|line| line.escaped(message, Style::Json));
        record.end();
    }
}

/// Names that a record has of its own. `fields` holds what events call by one of them.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "timestamp"
            | "level"
            | "target"
            | "message"
            | "file"
            | "line"
            | "context"
            | "label"
            | "request_id"
            | "trace_id"
            | "method"
            | "path"
            | "client_address"
            | "user"
            | "user_agent"
            | "protocol"
            | "started_by"
            | "fields"
            | "truncated"
    )
}

/// A record in the making, in one pass: the context is told after the message, or before the first field.
struct Record<'a> {
    line: Line<'a>,
    context: &'a LogContext,
    /// Its label, once it is told.
    label: Option<&'a str>,
    context_told: bool,
    message_told: bool,
    /// The fields say it all.
    is_access: bool,
    /// What there is to know of the fields' names.
    names: Option<&'a Names>,
    seen: Seen,
    /// What goes under `fields`: rare, and allocates nothing until then.
    aside: Vec<u8>,
}

impl<'a> Record<'a> {
    fn begin(
        text: &'a mut Vec<u8>,
        limit: usize,
        head: Head<'_>,
        names: Option<&'a Names>,
        context: &'a LogContext,
    ) -> Self {
        text.extend_from_slice(b"{\"timestamp\":\"");
        time::push_now(text);
        let is_access = head.target == event::ACCESS;
        let mut line = Line::new(text, limit);
        match names.map_or("", Names::head) {
            "" => {
                line.raw("\",\"level\":\"");
                line.raw(head.level.as_str());
                line.raw("\",\"target\":\"");
                line.part(|line| {
                    line.escaped(head.target, Style::Json);
                    line.raw("\"");
                    tell_location(line, head);
                });
            }
            known => {
                line.raw(known);
                if head.file.is_some() || head.line.is_some() {
                    line.part(|line| tell_location(line, head));
                }
            }
        }
        Self {
            line,
            context,
            label: None,
            context_told: false,
            message_told: false,
            is_access,
            names,
            seen: Seen::default(),
            aside: Vec::new(),
        }
    }

    #[inline]
    fn message(&mut self, put: impl FnOnce(&mut Line<'a>)) {
        if std::mem::replace(&mut self.message_told, true) {
            return;
        }
        if self.is_access {
            self.line.raw(",\"message\":\"Processed request\"");
        } else {
            self.line.raw(",\"message\":\"");
            put(&mut self.line);
            self.line.raw("\"");
        }
        self.tell_context();
    }

    #[inline]
    fn tell_context(&mut self) {
        if !std::mem::replace(&mut self.context_told, true) {
            self.tell_context_now();
        }
    }

    #[inline(never)]
    fn tell_context_now(&mut self) {
        let context = self.context;
        let label = &mut self.label;
        self.line.part(|line| {
            line.raw(",\"context\":\"");
            line.escaped(context.name(), Style::Json);
            if !context.is_sentinel() {
                *label = context.label();
                macro_rules! tell {
                    ($($name:literal: $value:expr),* $(,)?) => {$(
                        if let Some(value) = $value {
                            // With the quote that ends the value before.
                            line.raw(concat!("\",\"", $name, "\":\""));
                            line.escaped(value, Style::Json);
                        }
                    )*};
                }
                tell!("label": *label);
                if let Some(request) = context.request() {
                    tell!(
                        "request_id": context.request_id(),
                        "trace_id": request.trace(),
                        "method": Some(request.method()),
                        "path": Some(request.path()),
                        "client_address": request.client_address(),
                        "user": request.user(),
                        "user_agent": request.agent(),
                        "protocol": request.protocol_version(),
                    );
                }
                tell!("started_by": context.started_by());
            }
            line.raw("\"");
        });
    }

    /// What is known of the field's name; nothing for records whose fields are not those of their place.
    #[inline]
    fn name(&self, field: &Field) -> &'a Name {
        self.names.map_or(&Name::Special, |names| names.get(field.index()))
    }

    /// One of the event's own fields.
    #[inline]
    fn field(&mut self, field: &Field, put: impl FnOnce(&mut Line<'_>)) {
        let Name::Plain(key) = self.name(field) else {
            return self.special_field(event::name(field), put);
        };
        self.tell_context();
        if self.line.has_room() {
            key.put(self.line.bytes());
            put(&mut self.line);
        }
    }

    /// A field that says what the context says anyway.
    fn is_the_contexts(&self, name: &str, value: &str) -> bool {
        match name {
            "label" => {
                let label = if self.context_told { self.label } else { self.context.label() };
                label == Some(value)
            }
            "started_by" => self.context.started_by() == Some(value),
            _ => false,
        }
    }

    /// A text whose name has to be looked at.
    #[cold]
    #[inline(never)]
    fn special_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message(|line| line.escaped(value, Style::Json));
        } else if self.is_the_contexts(field.name(), value) {
            // Told for formats that know no contexts.
            self.tell_context();
        } else {
            self.special_field(event::name(field), |line| string(line, "\"", value));
        }
    }

    /// One that is the message, or whose name has to be looked at.
    #[cold]
    #[inline(never)]
    fn special_field(&mut self, name: &'static str, put: impl FnOnce(&mut Line<'_>)) {
        if name == "message" {
            // Not a text, or it would have come by another way.
            self.message(|line| put_as_string(line, put));
            return;
        }
        self.tell_context();
        if !self.seen.is_new(name) {
            return;
        }
        if is_reserved(name) {
            self.set_aside(name, put);
        } else if self.line.has_room() {
            key(&mut self.line, name);
            put(&mut self.line);
        }
    }

    #[cold]
    fn set_aside(&mut self, name: &str, put: impl FnOnce(&mut Line<'_>)) {
        let mut aside = Line::new(&mut self.aside, self.line.room());
        if aside.has_room() {
            key(&mut aside, name);
            put(&mut aside);
        }
        if aside.is_truncated() {
            self.line.cut_here();
        }
    }

    fn end(mut self) {
        if !self.message_told {
            self.message(|_| ());
        }
        self.tell_context();
        if !self.aside.is_empty() {
            // The comma before the first one is not needed, and room it has: see `set_aside`.
            self.line.raw(",\"fields\":{");
            self.line.bytes().extend_from_slice(&self.aside[1..]);
            self.line.raw("}");
        }
        self.line.raw(if self.line.is_truncated() { ",\"truncated\":true}\n" } else { "}\n" });
    }
}

impl Visit for Record<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match self.name(field) {
            Name::Plain(key) => {
                self.tell_context();
                if self.line.has_room() {
                    key.put_with_quote(self.line.bytes());
                    self.line.escaped(value, Style::Json);
                    self.line.raw("\"");
                }
            }
            Name::Message => self.message(|line| line.escaped(value, Style::Json)),
            Name::Special => self.special_str(field, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(self.name(field), Name::Message) || field.name() == "message" {
            self.message(|line| line.formatted(format_args!("{value:?}"), Style::Json));
        } else {
            self.field(field, |line| {
                line.raw("\"");
                line.formatted(format_args!("{value:?}"), Style::Json);
                line.raw("\"");
            });
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |line| line.raw_short(itoa::Buffer::new().format(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |line| number(line, value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.field(field, |line| string(line, "\"", itoa::Buffer::new().format(value))),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.field(field, |line| string(line, "\"", itoa::Buffer::new().format(value))),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |line| {
            if !seconds::put(value, line.bytes()) {
                put_float(line, value);
            }
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |line| if value { line.raw("true") } else { line.raw("false") });
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.field(field, |line| string(line, "\"", &event::hex(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let text = event::chain(value);
        self.record_str(field, &text);
    }
}

#[inline]
fn number(line: &mut Line<'_>, value: u64) {
    // Most counts are zero, or nearly.
    if value < 10 {
        line.bytes().push(b'0' + value as u8);
    } else {
        large_number(line, value);
    }
}

#[inline(never)]
fn large_number(line: &mut Line<'_>, value: u64) {
    line.raw_short(itoa::Buffer::new().format(value));
}

#[cold]
fn put_float(line: &mut Line<'_>, value: f64) {
    if value.is_finite() {
        line.raw(zmij::Buffer::new().format_finite(value));
    } else {
        string(line, "\"", zmij::Buffer::new().format(value));
    }
}

#[cold]
fn tell_location(line: &mut Line<'_>, head: Head<'_>) {
    if let Some(file) = head.file {
        string(line, ",\"file\":\"", file);
    }
    if let Some(number) = head.line {
        line.raw(",\"line\":");
        line.raw(itoa::Buffer::new().format(number));
    }
}

/// `opening` ends with the opening quote.
#[inline]
fn string(line: &mut Line<'_>, opening: &str, value: &str) {
    line.raw(opening);
    line.escaped(value, Style::Json);
    line.raw("\"");
}

#[inline]
fn key(line: &mut Line<'_>, name: &str) {
    line.raw(",\"");
    line.escaped(name, Style::Json);
    line.raw("\":");
}

/// A message that is a number, or anything but a text, is told as a text.
fn put_as_string(line: &mut Line<'_>, put: impl FnOnce(&mut Line<'_>)) {
    let mut text = Vec::new();
    put(&mut Line::new(&mut text, line::LIMIT));
    line.escaped(String::from_utf8_lossy(&text).trim_matches('"'), Style::Json);
}

/// The names that a record has had, of those that need a look: few.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    fn is_new(&mut self, name: &'static str) -> bool {
        let is_new = !self.0.contains(&name);
        if is_new {
            self.0.push(name);
        }
        is_new
    }
}

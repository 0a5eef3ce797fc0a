//! What an event is, before a format has its say: where it comes from, and its values by type.

use std::error::Error;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_log::NormalizeEvent;

/// The target of access lines, which say everything twice: in a message, for people, and in fields, for programs.
pub(crate) const ACCESS: &str = "logcontext::access";

/// Where a record comes from.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub level: Level,
    pub target: &'a str,
    pub file: Option<&'a str>,
    pub line: Option<u32>,
}

/// Calls `f` with where the event comes from, and with whether it is a record of the `log` crate: those have
/// theirs in fields, which are then no fields of their own. `locations`: also tell the file and line of others.
#[inline]
pub(crate) fn with_head<R>(event: &Event<'_>, locations: bool, f: impl FnOnce(Head<'_>, bool) -> R) -> R {
    let metadata = event.metadata();
    // Cheaper than asking: all records of `log` have this target.
    if metadata.target() == "log"
        && let Some(normalized) = event.normalized_metadata()
    {
        let head = Head {
            level: *normalized.level(),
            target: normalized.target(),
            file: normalized.file(),
            line: normalized.line(),
        };
        return f(head, true);
    }
    let head = Head {
        level: *metadata.level(),
        target: metadata.target(),
        file: metadata.file().filter(|_| locations),
        line: metadata.line().filter(|_| locations),
    };
    f(head, false)
}

/// The name of a field: `r#type` is `type`.
#[inline]
pub(crate) fn name(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// An error and what caused it, as one text: `cannot start: port in use`. A cause that its error has told
/// already is not told again.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    const DEPTH: usize = 16;
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..DEPTH {
        let Some(error) = cause else { break };
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// The bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[digit as usize]))
        .collect()
}

/// Visits the event's own fields: without those that the bridge from `log` adds.
pub(crate) fn visit(event: &Event<'_>, is_log: bool, visitor: &mut dyn Visit) {
    if is_log {
        event.record(&mut MessageOnly(visitor));
    } else {
        event.record(visitor);
    }
}

struct MessageOnly<'a>(&'a mut dyn Visit);

impl Visit for MessageOnly<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.record_debug(field, value);
        }
    }
}

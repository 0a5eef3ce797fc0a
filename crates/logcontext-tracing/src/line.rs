//! The line that a record becomes: bytes, always UTF-8, and no more than its limit, whatever is put into it.

use std::cell::Cell;
use std::fmt;

use crate::escape::{self, Style};
use crate::short;

/// Longest line, unless told otherwise.
pub(crate) const LIMIT: usize = 256 * 1024;

/// A buffer that has held more than this is not kept for the next record.
const KEEP: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer, empty. A record that is written while another one is (a `Debug` that logs) has
/// one of its own.
pub(crate) fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEEP {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}

/// A line in the making. What is from outside is escaped and cut at the limit; the format's own few bytes are
/// not, so that what was opened is always closed.
pub(crate) struct Line<'a> {
    text: &'a mut Vec<u8>,
    /// 0 once it is full.
    limit: usize,
    /// Something has been cut that belongs to this part of the line: nothing more goes into it.
    full: bool,
    /// Something has been cut.
    truncated: bool,
}

impl<'a> Line<'a> {
    /// Goes on with `text`, until it is `limit` long.
    pub(crate) fn new(text: &'a mut Vec<u8>, limit: usize) -> Self {
        Self { text, limit, full: false, truncated: false }
    }

    /// A part of the line with room of its own, so that a long message does not take the context's.
    #[inline]
    pub(crate) fn part(&mut self, f: impl FnOnce(&mut Self)) {
        const ROOM: usize = 8 * 1024;
        let (limit, full) = (self.limit, self.full);
        (self.limit, self.full) = (self.len() + ROOM, false);
        f(self);
        // What it took is no loss for the rest.
        (self.limit, self.full) = (limit, full);
    }

    /// The format's own: quotes, commas, keys.
    #[inline]
    pub(crate) fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// The same, for what is short and of a length that only the running program knows.
    #[inline]
    pub(crate) fn raw_short(&mut self, text: &str) {
        short::push(self.text, text.as_bytes());
    }

    /// The line so far, for what puts bytes of its own.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        self.text
    }

    /// Anything else.
    #[inline]
    pub(crate) fn escaped(&mut self, text: &str, style: Style) {
        let start = self.text.len();
        if text.len() > self.room() {
            escape::escape(self, text, style);
        } else if !short::push_plain(self.text, text.as_bytes()) {
            self.text.truncate(start);
            escape::escape(self, text, style);
        }
    }

    /// What `value` prints.
    pub(crate) fn formatted(&mut self, value: fmt::Arguments<'_>, style: Style) {
        // An error is the value's own; what it has printed by then stays.
        let _ = fmt::Write::write_fmt(&mut Escaping { line: self, style }, value);
    }

    /// Puts `text`, which is whole or not at all, and answers whether there was room.
    pub(crate) fn fits(&mut self, text: &str) -> bool {
        let fits = text.len() <= self.room();
        if fits {
            self.text.extend_from_slice(text.as_bytes());
        } else {
            self.cut_here();
        }
        fits
    }

    /// From now on there is no room.
    pub(crate) fn cut_here(&mut self) {
        (self.limit, self.full, self.truncated) = (0, true, true);
    }

    /// Is there room for another field? If not, it is one that is missing.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        let room = self.room() > 0;
        if !room {
            self.cut_here();
        }
        room
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.text.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn cut(&mut self, from: usize) -> Vec<u8> {
        self.text.split_off(from)
    }

    pub(crate) fn insert(&mut self, at: usize, text: Vec<u8>) {
        self.text.splice(at..at, text);
    }
}

struct Escaping<'a, 'b> {
    line: &'a mut Line<'b>,
    style: Style,
}

impl fmt::Write for Escaping<'_, '_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.line.escaped(text, self.style);
        // An error ends a `Debug` that would go on for ever.
        if self.line.full { Err(fmt::Error) } else { Ok(()) }
    }
}

/// What `value` prints, as it is; when that is longer than the limit, only the beginning.
pub(crate) fn printed(value: fmt::Arguments<'_>, limit: usize) -> String {
    struct Limited(String, usize);
    impl fmt::Write for Limited {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(text);
            if self.0.len() > self.1 { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut text = Limited(String::new(), limit);
    let _ = fmt::Write::write_fmt(&mut text, value);
    text.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_within_a_record_has_a_buffer_of_its_own() {
        with_buffer(|outer| {
            outer.extend_from_slice(b"outer");
            with_buffer(|inner| {
                assert_eq!(inner, b"");
                inner.extend_from_slice(b"inner");
            });
            assert_eq!(outer, b"outer");
        });
        with_buffer(|next| assert_eq!(next, b""));
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        let mut text = Vec::new();
        let mut line = Line::new(&mut text, 4);
        line.escaped("aéé", Style::Json);
        assert!(line.is_truncated());
        line.escaped("b", Style::Json);
        line.part(|line| line.escaped("c", Style::Json));
        assert!(!line.has_room());
        assert_eq!(text, "aéc".as_bytes());
    }
}

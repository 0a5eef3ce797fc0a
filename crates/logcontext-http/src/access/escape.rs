//! Text from outside, made safe for a log line.

use std::fmt::{self, Display, Formatter, Write};

/// Text that ends neither the field it stands in nor the line, and does not paint the terminal.
pub(crate) struct Escaped<'a> {
    text: &'a str,
    end: char,
}

impl<'a> Escaped<'a> {
    /// The text in a field that ends with this character; a dash if there is none.
    pub(crate) fn or_dash(text: Option<&'a str>, end: char) -> Self {
        Self { text: text.filter(|text| !text.is_empty()).unwrap_or("-"), end }
    }

    fn is_plain(&self, c: char) -> bool {
        match c {
            '\\' => false,
            ' '..='~' => c != self.end,
            // What turns the reading direction, or starts a line in Unicode's eyes.
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
            _ => !c.is_control(),
        }
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let end = u8::try_from(self.end).unwrap_or(b'\\');
        if self.text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'\\' && b != end) {
            return f.write_str(self.text);
        }
        let mut rest = self.text;
        while let Some(at) = rest.find(|c| !self.is_plain(c)) {
            let (plain, special) = rest.split_at(at);
            f.write_str(plain)?;
            let mut chars = special.chars();
            match chars.next() {
                Some(c) if c == self.end && !c.is_control() => {
                    f.write_char('\\')?;
                    f.write_char(c)?;
                }
                Some(c) if c.is_ascii() => Display::fmt(&c.escape_default(), f)?,
                Some(c) => Display::fmt(&c.escape_unicode(), f)?,
                None => {}
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

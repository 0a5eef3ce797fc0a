//! Text from outside, made safe for a log line.

use std::fmt::{self, Display, Formatter, Write};

/// Text that ends neither the field it stands in nor the line, and does not paint the terminal.
pub(crate) struct Escaped<'a> {
    text: &'a str,
    end: u8,
}

impl<'a> Escaped<'a> {
    /// The text in a field that ends with this character; a dash if there is none.
    pub(crate) fn or_dash(text: Option<&'a str>, end: u8) -> Self {
        Self { text: text.filter(|text| !text.is_empty()).unwrap_or("-"), end }
    }

    #[inline]
    fn is_plain_ascii(&self, byte: u8) -> bool {
        matches!(byte, b' '..=b'~') & (byte != b'\\') & (byte != self.end)
    }

    fn is_plain(&self, c: char) -> bool {
        match c {
            '\\' => false,
            ' '..='~' => c != char::from(self.end),
            // What turns the reading direction, or starts a line in Unicode's eyes.
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
            _ => !c.is_control(),
        }
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Looks at all of them, however they are: that is many at a time.
        if self.text.bytes().fold(true, |plain, byte| plain & self.is_plain_ascii(byte)) {
            return f.write_str(self.text);
        }
        let mut rest = self.text;
        while let Some(at) = rest.find(|c| !self.is_plain(c)) {
            let (plain, special) = rest.split_at(at);
            f.write_str(plain)?;
            let mut chars = special.chars();
            match chars.next() {
                Some(c) if c == char::from(self.end) && !c.is_control() => {
                    f.write_char('\\')?;
                    f.write_char(c)?;
                }
                Some(c) if c.is_ascii() => write!(f, "{}", c.escape_default())?,
                Some(c) => write!(f, "{}", c.escape_unicode())?,
                None => {}
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

//! What must not get through to a log line: whatever ends it, ends a string in it, moves the cursor of the
//! terminal that shows it, or makes it read in another order than it is written.

use crate::line::Line;

/// How a character that must not get through is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In a JSON string.
    Json,
    /// In a quoted value of the text format.
    Quoted,
    /// Outside quotes in the text format: quotes and backslashes are themselves.
    Bare,
}

/// Printable ASCII without quotes and backslashes?
#[inline]
pub(crate) fn is_plain(text: &str) -> bool {
    plain_prefix(text.as_bytes()) == text.len()
}

/// How many bytes come before the first that is not printable ASCII, or is a quote or a backslash. Looks at eight
/// bytes at a time.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let (eights, rest) = bytes.as_chunks::<8>();
    for (i, &eight) in eights.iter().enumerate() {
        let special = specials(u64::from_le_bytes(eight));
        if special != 0 {
            return 8 * i + first(special);
        }
    }
    let whole = bytes.len() - rest.len();
    let special = match bytes.last_chunk::<8>() {
        // Some of them for the second time; what is special is in the rest.
        Some(&last) => specials(u64::from_le_bytes(last)) >> (8 * (8 - rest.len() as u32) % 64),
        None => {
            let word = rest.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte));
            // What is missing is spaces.
            specials(word | (SPACES << (8 * rest.len())))
        }
    };
    if special == 0 || rest.is_empty() { bytes.len() } else { whole + first(special) }
}

/// Which byte of eight is the first special one.
#[inline]
const fn first(specials: u64) -> usize {
    specials.trailing_zeros() as usize / 8
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const SPACES: u64 = ONES * b' ' as u64;

/// Marks the bytes that are beyond `~`, before space, a quote or a backslash by their high bits: the first of them,
/// and perhaps others after it that are not. Zero if there is none.
#[inline]
pub(crate) const fn specials(word: u64) -> u64 {
    const HIGH: u64 = ONES << 7;
    /// The high bit of the first byte that is below `n`, and perhaps of some after it.
    const fn below(word: u64, n: u8) -> u64 {
        word.wrapping_sub(ONES * n as u64) & !word
    }
    let quote = below(word ^ (ONES * b'"' as u64), 1);
    let backslash = below(word ^ (ONES * b'\\' as u64), 1);
    // One more than DEL has the high bit set.
    (word | word.wrapping_add(ONES) | below(word, b' ') | quote | backslash) & HIGH
}

/// Controls, C1 included (terminals obey them), line separators that are not ASCII, and marks that change the
/// direction of what follows.
pub(crate) fn is_unprintable(ch: char) -> bool {
    matches!(
        ch,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Puts `text`, as far as there is room.
#[inline(never)]
pub(crate) fn escape(line: &mut Line<'_>, text: &str, style: Style) {
    // What is before `start` has been put; up to `at` nothing needs an escape.
    let (mut start, mut at) = (0, 0);
    loop {
        at += plain_prefix(&text.as_bytes()[at..]);
        let Some(ch) = text[at..].chars().next() else { break };
        let next = at + ch.len_utf8();
        let quoted = style != Style::Bare && matches!(ch, '"' | '\\');
        if quoted || is_unprintable(ch) {
            if !put(line, &text[start..at]) || !put_escaped(line, ch, style) {
                return;
            }
            start = next;
        }
        at = next;
    }
    put(line, &text[start..]);
}

/// Answers whether all of it had room.
fn put(line: &mut Line<'_>, text: &str) -> bool {
    let room = line.room();
    if line.fits(text) {
        return true;
    }
    // `str::floor_char_boundary` is younger than the oldest compiler that builds this.
    let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    line.raw(&text[..end]);
    false
}

fn put_escaped(line: &mut Line<'_>, ch: char, style: Style) -> bool {
    let short = match ch {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ => {
            let code = u32::from(ch);
            return match style {
                // All of them are in the basic plane: one unit of UTF-16.
                Style::Json => line.fits(&format!("\\u{code:04x}")),
                Style::Quoted | Style::Bare => line.fits(&format!("\\u{{{code:x}}}")),
            };
        }
    };
    line.fits(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, style: Style) -> String {
        let mut out = Vec::new();
        Line::new(&mut out, 1_000).escaped(text, style);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_text_is_itself() {
        for style in [Style::Json, Style::Quoted, Style::Bare] {
            assert_eq!(escaped("GET /presence/{user}~", style), "GET /presence/{user}~");
            assert_eq!(escaped("Grüße, 世界 🦀", style), "Grüße, 世界 🦀");
        }
    }

    #[test]
    fn one_special_byte_is_seen_wherever_it_stands() {
        for length in 0..40 {
            let text = "~".repeat(length);
            assert!(is_plain(&text), "{length}");
            for at in 0..length {
                for special in ['\0', '\x1f', '"', '\\', '\x7f', '\u{80}', 'é'] {
                    let mut text = text.clone();
                    text.replace_range(at..=at, &special.to_string());
                    assert!(!is_plain(&text), "{special:?} at {at} of {length}");
                    assert_eq!(plain_prefix(text.as_bytes()), at, "{special:?} at {at} of {length}");
                }
            }
        }
        assert!((' '..='~').all(|ch| is_plain(&ch.to_string()) != matches!(ch, '"' | '\\')));
    }

    #[test]
    fn each_style_escapes_what_would_break_it() {
        let text = "a\"b\\c\nd\re\tf\x1b[31mg\x7fh\u{9b}i\u{2028}j\u{202e}k";
        assert_eq!(escaped(text, Style::Json), r#"a\"b\\c\nd\re\tf\u001b[31mg\u007fh\u009bi\u2028j\u202ek"#);
        assert_eq!(
            escaped(text, Style::Quoted),
            r#"a\"b\\c\nd\re\tf\u{1b}[31mg\u{7f}h\u{9b}i\u{2028}j\u{202e}k"#
        );
        assert_eq!(
            escaped(text, Style::Bare),
            r#"a"b\c\nd\re\tf\u{1b}[31mg\u{7f}h\u{9b}i\u{2028}j\u{202e}k"#
        );
    }

    #[test]
    fn an_escape_is_written_whole_or_not_at_all() {
        for limit in 0..8 {
            let mut out = Vec::new();
            let mut line = Line::new(&mut out, limit);
            line.escaped("a\x01b", Style::Json);
            let truncated = line.is_truncated();
            assert_eq!(truncated, limit < 8);
            let expected: &[u8] = if limit == 0 {
                b""
            } else if limit < 7 {
                b"a"
            } else {
                b"a\\u0001"
            };
            assert_eq!(out, expected);
        }
    }
}
